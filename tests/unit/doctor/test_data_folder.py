"""What `doctor` says of a data folder, before any image is opened."""

from pathlib import Path

import pytest

from anomalyvfm_opt.doctor.check import Status
from anomalyvfm_opt.doctor.data import look_at_data
from anomalyvfm_opt.doctor.subject import Subject, Workload
from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.spec.model import Spec
from tests.unit.data.folders import write_mvtec_ad2

SPEC = Spec.model_validate({"name": "x", "data": {"image_size_px": 64, "lock": "half"}, "search": {"trials": 5}})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("can", "vial"):
        write_mvtec_ad2(tmp_path / "data", name, train=4, validation=2, scenes=2)
    return tmp_path / "data"


def subject_of(*workloads: Workload) -> Subject:
    subject = Subject()
    subject.workloads += workloads
    return subject


def test_without_a_folder_there_is_nothing_to_look_at() -> None:
    assert look_at_data(Subject(), None).status is Status.SKIP


def test_all_categories_are_counted_where_none_is_named(data: Path) -> None:
    found = look_at_data(Subject(), data)
    assert found.status is Status.OK
    assert "in 2 categories (can " in found.detail


def test_only_those_that_are_needed_are_counted(data: Path) -> None:
    subject = subject_of(Workload(SPEC, ("vial",), data), Workload(SPEC, ("vial",), data))
    assert subject.list_folders(None) == {data: {"vial"}}
    assert "in 1 category (vial " in look_at_data(subject, None).detail


def test_a_folder_that_is_given_comes_before_the_stored_one(data: Path) -> None:
    assert subject_of(Workload(SPEC, ("vial",), Path("/old"))).list_folders(data) == {data: {"vial"}}


def test_a_category_that_is_not_there_is_named_with_those_that_are(data: Path) -> None:
    found = look_at_data(subject_of(Workload(SPEC, ("can", "walnuts"))), data)
    assert found.status is Status.FAIL
    assert "lacks walnuts (1 of 2 categories)" in found.detail
    assert "there are can, vial" in found.fix


def test_a_folder_that_is_not_there_is_an_error_of_the_environment(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissingError):
        look_at_data(Subject(), tmp_path / "none")
