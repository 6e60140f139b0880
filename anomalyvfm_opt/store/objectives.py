"""The two objectives of a study's complete trials, as many as there are in one lean statement."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row, text

from anomalyvfm_opt.store.trial_record import fits
from anomalyvfm_opt.store.trial_sql import FIND_ATTRIBUTE, load_attributes

_KEYS = ("reference", "objectives", "synthetic_scorer", "synthetic_auroc")  # of TrialRecord
_READ = text(f"""
    SELECT {", ".join(f"{FIND_ATTRIBUTE.format(key)} AS {key}" for key in _KEYS)},
           (SELECT CAST(json_object_agg(m.scorer, m.image_auroc) AS text) FROM anomalyvfm_opt.trial_metric m
             WHERE m.trial_id = t.trial_id) AS labelled_auroc
      FROM trials t WHERE t.study_id = :study_id AND t.state = 'COMPLETE' ORDER BY t.trial_id
""")  # noqa: S608 - names of our own


@dataclass(frozen=True, kw_only=True)
class StoredObjectives:
    """What a complete trial reached by both exams; None where it has none of a name. All are image AUROC (0-1).

    Args:
        reference: name of the reference that it runs.
        objectives: `synthetic` and `labelled` -> value, null where there is no such exam.
        synthetic_scorer: that the synthetic objective comes from.
        synthetic_auroc: scorer -> value on the synthetic exam.
        labelled_auroc: scorer -> value on the labelled images.
    """

    reference: str | None
    objectives: Mapping[str, float | None] | None
    synthetic_scorer: str | None
    synthetic_auroc: Mapping[str, float] | None
    labelled_auroc: Mapping[str, float] | None


def list_objectives(engine: Engine, study_id: int) -> list[StoredObjectives]:
    """Return the objectives of all complete trials of a study, in the order of the trials' ids."""
    with engine.connect() as connection:
        rows = connection.execute(_READ, {"study_id": study_id}).all()
    return [StoredObjectives(**_read(row), labelled_auroc=_load(row.labelled_auroc)) for row in rows]


def _read(row: Row[Any]) -> dict[str, Any]:
    """Return the attributes of a trial; None for what is missing, no JSON, or of another type."""
    found = load_attributes((name, text) for name in _KEYS if (text := getattr(row, name)) is not None)
    return {name: value if fits(name, value := found.get(name)) else None for name in _KEYS}


def _load(aurocs: str | None) -> Any:
    return None if aurocs is None else json.loads(aurocs)
