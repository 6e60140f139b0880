"""Whatever goes wrong while a submission is made, nothing of it is left."""

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from anomalyvfm_opt.errors import AnomalyVFMOptError, BadDataError, EnvironmentMissingError
from anomalyvfm_opt.inference.prediction import Prediction
from anomalyvfm_opt.inference.sources import Framed
from anomalyvfm_opt.inference.standalone import StandaloneDetector
from anomalyvfm_opt.inference.submission import making
from tests.unit.inference.making import list_left, make


def refuse(*_: object, **__: object) -> object:
    raise OSError(errno.ENOSPC, "No space left on device")


def stop(*_: object, **__: object) -> object:
    raise SystemExit(143)


@pytest.mark.parametrize("error", [refuse, stop])
@pytest.mark.parametrize("step", ["pack_map", "pack_archive", "sync", "rename"])
def test_what_is_interrupted_anywhere_leaves_nothing(
    data: Path,
    detectors: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: Callable[..., object],
) -> None:
    if step == "rename":
        rename = Path.rename
        monkeypatch.setattr(
            Path, "rename", lambda own, to: error() if str(to).endswith(".tar.gz") else rename(own, to)
        )
    elif step == "sync":
        monkeypatch.setattr(os, "sync", error)
    elif step == "pack_map" and error is refuse:
        monkeypatch.setattr(Path, "write_bytes", error)
    else:
        monkeypatch.setattr(making, step, error)
    expected = SystemExit if error is stop else EnvironmentMissingError
    with pytest.raises(expected):
        make(data, tmp_path / "mine", detectors)
    assert list_left(tmp_path) == []


def test_a_disk_that_is_too_small_is_refused_before_the_first_map(
    data: Path, detectors: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making.shutil, "disk_usage", lambda _path: SimpleNamespace(free=1000))
    with pytest.raises(EnvironmentMissingError, match="GiB left, and the maps with their archive take about"):
        make(data, tmp_path / "mine", detectors)
    assert list_left(tmp_path) == []


def test_a_map_that_is_no_number_is_refused_with_its_image(
    data: Path, detectors: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = StandaloneDetector.predict_framed

    def predict_nothing(self: StandaloneDetector, framed: Sequence[Framed]) -> list[Prediction]:
        return [replace(one, map=np.full_like(one.map, np.nan)) for one in predict(self, framed)]

    monkeypatch.setattr(StandaloneDetector, "predict_framed", predict_nothing)
    with pytest.raises(BadDataError, match=r"the map of .*000_regular.png has the value nan"):
        make(data, tmp_path / "mine", detectors)
    assert list_left(tmp_path) == []


def test_what_another_process_changes_is_found_before_it_is_packed(
    data: Path, detectors: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspect = making.inspect_submission

    def change_first(root: Path, wanted: object) -> object:
        (root / "spare.txt").touch()
        return inspect(root, wanted)  # type: ignore[arg-type]

    monkeypatch.setattr(making, "inspect_submission", change_first)
    with pytest.raises(AnomalyVFMOptError, match=r"1 fault in what was just written.*spare.txt"):
        make(data, tmp_path / "mine", detectors)
    assert list_left(tmp_path) == []
