"""Masks are part of what a study stands on: changed ones are refused at creation and by workers."""

import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from anomalyvfm_opt.data.layout import read_category
from anomalyvfm_opt.errors import BadDataError, UsageError
from anomalyvfm_opt.store.division import list_images
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.worker.images import find_images
from tests.integration.program import CATEGORY, Program


@dataclass(frozen=True)
class Study:
    """A study on a data folder of its own."""

    program: Program
    data: Path
    record: StudyRecord

    def join(self) -> int:
        """What a worker does first; returns the number of images to search on."""
        stored = list_images(self.program.store.engine, self.record.study_id)
        return len(find_images(self.record, stored, self.data).search)

    def find_mask(self, role: str) -> Path:
        """The mask of the first image with a role that has one."""
        stored = list_images(self.program.store.engine, self.record.study_id)
        images = read_category(self.data, CATEGORY).test
        return next(i.mask for i in images if i.mask is not None and stored[i.key].role == role)


@pytest.fixture
def study(program: Program, tmp_path: Path) -> Study:
    data = tmp_path / "data"
    shutil.copytree(program.data / CATEGORY, data / CATEGORY)
    name = f"masks_{uuid.uuid4().hex[:8]}"
    return Study(program, data, program.record(program.create_here(name, data, references=["frozen"])))


def change(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


@pytest.mark.parametrize("spoil", [change, Path.unlink], ids=["changed", "gone"])
def test_a_worker_refuses_masks_that_are_not_those_of_the_study(
    study: Study, spoil: Callable[[Path], None]
) -> None:
    assert study.join() == 31
    mask = study.find_mask("search")
    spoil(mask)
    image = mask.name.removesuffix("_mask.png")
    with pytest.raises(BadDataError, match=rf"masks of .*: of 1 image, first of \S*{image}.*does not join"):
        study.join()


def test_a_worker_reads_no_locked_mask(study: Study) -> None:
    change(study.find_mask("locked"))
    assert study.join() == 31


def test_a_study_whose_masks_nobody_hashed_may_be_joined(study: Study) -> None:
    change(study.find_mask("search"))
    assert replace(study, record=replace(study.record, masks_sha256=None)).join() == 31


def test_the_same_study_with_another_mask_is_refused(study: Study) -> None:
    change(study.find_mask("locked"))
    with pytest.raises(UsageError, match=r"masks \(content hash\): \w{12} -> \w{12}"):
        study.program.create_here(study.record.spec.name, study.data, references=["frozen"])
