"""The columns of a study: what is written, read and copied derives from the table's declaration."""

from dataclasses import fields

from sqlalchemy.dialects import postgresql

from anomalyvfm_opt import METHOD
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.store import siblings, tables
from anomalyvfm_opt.store.division import StoredImage
from anomalyvfm_opt.store.studies import NewStudy, StudyRecord

COLUMNS = set(tables.study.c.keys())
NEW = NewStudy(
    spec=Spec.model_validate(
        {
            "name": "tiny",
            "data": {"image_size_px": 64, "lock": "half"},
            "references": ["frozen"],
            "search": {"trials": 6},
        }
    ),
    category="tile",
    data_dir="/data",
    split_sha256="split",
    weights_sha256="weights",
    images=(StoredImage("tile/good/000.png", "search", "good", "000", None, "00"),),
)
CHANGING = {"created_at", "state", "state_reason"}  # which no record of a study holds
MADE_BY_THE_SERVER = {"study_id", *CHANGING}


def test_each_column_is_read_into_a_studys_record_or_changes() -> None:
    read = {field.name for field in fields(StudyRecord)}
    assert read & COLUMNS == COLUMNS - CHANGING
    assert read - COLUMNS == {"name", "is_spec_intact"}


def test_each_column_is_written_when_a_study_is_created() -> None:
    row = NEW.to_row()
    assert set(row) == COLUMNS - MADE_BY_THE_SERVER
    assert row["spec"] == NEW.spec.model_dump(mode="json")
    assert (row["category"], row["budget"], row["method"], row["lock"]) == ("tile", 6, METHOD, "half")
    assert (row["split_sha256"], row["masks_sha256"], row["judged"]) == ("split", None, 1)


def test_a_sibling_gets_every_column_but_those_of_the_study_itself() -> None:
    study, images = (str(copy.compile(dialect=postgresql.dialect())) for copy in siblings._COPIES)
    named = set(study.partition("(")[2].partition(")")[0].split(", "))
    assert named == COLUMNS - CHANGING
    assert study.endswith("ON CONFLICT DO NOTHING")
    named = set(images.partition("(")[2].partition(")")[0].split(", "))
    assert named == set(tables.study_image.c.keys())
