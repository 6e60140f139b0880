"""Looks: each time that locked images were scored. They belong to the images, whatever study they were part of.

A look is written down before the images are scored. So a worker that is killed in between leaves a look that
nobody saw the result of, and never a result without a look.
"""

import hashlib
from dataclasses import dataclass

from sqlalchemy import Engine, text

from anomalyvfm_opt.spec.study_name import SIBLINGS_LIKE
from anomalyvfm_opt.store.engine import autocommit

_LOCKED = text("""
    SELECT sha256 FROM anomalyvfm_opt.study_image WHERE study_id = :study_id AND role = 'locked' ORDER BY sha256
""")
_WRITE = text("""
    INSERT INTO anomalyvfm_opt.look_image (lock_sha256, image_sha256)
    SELECT :lock, unnest(CAST(:images AS text[])) ON CONFLICT DO NOTHING;
    INSERT INTO anomalyvfm_opt.look (study_name, round, arm, seed, trial_number, lock_sha256, worker)
    VALUES (:study_name, :round, :arm, :seed, :trial_number, :lock, :worker)
""")
# Of any study whose locked images have one in common with these.
_COUNT = text("""
    SELECT l.study_name, l.round, count(*) AS scorings, min(l.looked_at) AS first
      FROM anomalyvfm_opt.look l
     WHERE l.lock_sha256 IN (SELECT i.lock_sha256 FROM anomalyvfm_opt.look_image i
                              WHERE i.image_sha256 IN (SELECT sha256 FROM anomalyvfm_opt.study_image
                                                        WHERE study_id = :study_id AND role = 'locked'))
     GROUP BY l.study_name, l.round ORDER BY first, l.study_name, l.round
""")
# Images that are locked here and that trials of another study were scored on.
_SEEN = text(f"""
    SELECT s.study_name, count(DISTINCT mine.sha256) AS images
      FROM anomalyvfm_opt.study_image mine
      JOIN anomalyvfm_opt.study_image theirs ON theirs.sha256 = mine.sha256 AND theirs.role = 'search'
      JOIN studies s ON s.study_id = theirs.study_id
     WHERE mine.study_id = :study_id AND mine.role = 'locked' AND s.study_name NOT LIKE '{SIBLINGS_LIKE}'
     GROUP BY s.study_name ORDER BY s.study_name
""")  # noqa: S608 - our own

_ROUNDS = text("SELECT coalesce(max(round), 0) FROM anomalyvfm_opt.look WHERE study_name = :study_name")


@dataclass(frozen=True)
class Opening:
    """A confirmation that opened a lock: how often it scored images that are locked here as well."""

    study_name: str
    round: int
    scorings: int


def write_look(
    engine: Engine, study_id: int, study_name: str, key: tuple[int, str, int], trial_number: int, worker: str
) -> None:
    """Write down that the locked images of a study are about to be scored.

    Args:
        engine: of the study store.
        study_id: of the `#confirm` study.
        study_name: the same by name, which outlives it.
        key: round, arm and seed.
        trial_number: of the trial that looks.
        worker: that runs it.
    """
    with autocommit(engine) as connection:
        images = list(connection.scalars(_LOCKED, {"study_id": study_id}))
        row = {
            "lock": hashlib.sha256("\n".join(images).encode()).hexdigest(),
            "images": images,
            "study_name": study_name,
            "trial_number": trial_number,
            "worker": worker,
            **dict(zip(("round", "arm", "seed"), key, strict=True)),
        }
        connection.execute(_WRITE, row)


def list_openings(engine: Engine, study_id: int) -> list[Opening]:
    """Return all confirmations that looked at images which are locked in a study, earliest first; of any study."""
    with engine.connect() as connection:
        rows = connection.execute(_COUNT, {"study_id": study_id})
        return [Opening(row.study_name, row.round, row.scorings) for row in rows]


def count_rounds(engine: Engine, study_name: str) -> int:
    """Return the last round in which a `#confirm` study looked, or one of that name which was deleted; 0 for none.

    A study that is made anew goes on from there: its first round is not the first look.
    """
    with engine.connect() as connection:
        return int(connection.scalar(_ROUNDS, {"study_name": study_name}) or 0)


def list_searches_on_locked(engine: Engine, study_id: int) -> dict[str, int]:
    """Studies that searched on images which are locked here -> how many of them: choices were made on these."""
    with engine.connect() as connection:
        return {row.study_name: row.images for row in connection.execute(_SEEN, {"study_id": study_id})}
