"""Our own tables, in the PostgreSQL schema `anomalyvfm_opt` beside Optuna's tables.

Optuna keeps studies, trials, parameters and values; these tables keep what it has no room for: the spec and
the division of the images, who may run which trial, the workers, the per-image scores and the trials' files.
Deleting a study or a trial through Optuna deletes our rows as well.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

SCHEMA = "anomalyvfm_opt"
metadata = MetaData(schema=SCHEMA)

# Optuna's tables, as far as our statements need them; they are Optuna's to create and to change.
optuna_metadata = MetaData()
optuna_studies = Table(
    "studies",
    optuna_metadata,
    Column("study_id", Integer, primary_key=True),
    Column("study_name", String),
)
optuna_trials = Table(
    "trials",
    optuna_metadata,
    Column("trial_id", Integer, primary_key=True),
    Column("number", Integer),
    Column("study_id", Integer),
    Column("state", String),
)


def _study_key(**options: Any) -> "Column[int]":
    reference = ForeignKey(optuna_studies.c.study_id, ondelete="CASCADE")
    return Column("study_id", Integer, reference, nullable=False, **options)


def _trial_key(**options: Any) -> "Column[int]":
    return Column("trial_id", Integer, ForeignKey(optuna_trials.c.trial_id, ondelete="CASCADE"), **options)


# A column of a study that its siblings do not share. The others are copied to them, and a study's record is read
# from those that it has a field for (store/studies.py): a new column is declared here, in a migration and there.
_OWN = {"is_own": True}

study = Table(
    "study",
    metadata,
    _study_key(primary_key=True, autoincrement=False, info=_OWN),
    Column("category", Text, nullable=False),
    Column("spec", JSONB, nullable=False),
    Column("spec_sha256", Text, nullable=False),
    Column("data_dir", Text, nullable=False),
    Column("lock", Text, nullable=False),
    Column("split_sha256", Text, nullable=False),
    Column("weights_sha256", Text, nullable=False),
    Column("budget", Integer, nullable=False, info=_OWN),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now(), info=_OWN),
    Column("masks_sha256", Text),  # NULL in a study that is older than it: not known, so not compared
    Column("state", Text, nullable=False, server_default="active", info=_OWN),
    Column("state_reason", Text, nullable=False, server_default="", info=_OWN),
    Column("judged", Integer),  # categories of the spec when it was created; NULL in a study that is older
    Column("method", Integer, nullable=False, server_default="1"),  # METHOD of the program that created it
    CheckConstraint("state IN ('active', 'paused', 'stopped')", name="study_state"),
)

study_image = Table(
    "study_image",
    metadata,
    _study_key(primary_key=True),
    Column("image_key", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("scene", Text, nullable=False),
    Column("light", Text),
    Column("sha256", Text, nullable=False),
    Column("mask_sha256", Text),
    CheckConstraint("role IN ('fit', 'held_out', 'search', 'locked')", name="study_image_role"),
)

lease = Table(
    "lease",
    metadata,
    Column("lease_id", BigInteger, Identity(), primary_key=True),
    _study_key(index=True),
    _trial_key(unique=True),
    Column("worker", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("expires_at", DateTime(timezone=True), nullable=False),
)

trial_outcome = Table(
    "trial_outcome",
    metadata,
    _trial_key(primary_key=True, autoincrement=False),
    Column("outcome", Text, nullable=False),
    Column("is_final", Boolean, nullable=False),
    Column("message", Text, nullable=False, server_default=""),
    Column("worker", Text, nullable=False),
    Column("ended_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

trial_metric = Table(
    "trial_metric",
    metadata,
    _trial_key(primary_key=True),
    Column("scorer", Text, primary_key=True),
    Column("image_auroc", Double, nullable=False),
    Column("image_ap", Double, nullable=False),
    Column("image_f1_max", Double, nullable=False),
    Column("pixel_auroc", Double),
    Column("au_pro_005", Double),
    Column("au_pro_030", Double),
)

# A metric under the draws of scenes that all trials on the same images share (evaluation/resample.py).
trial_resample = Table(
    "trial_resample",
    metadata,
    _trial_key(primary_key=True),
    Column("metric", Text, primary_key=True),
    Column("draws", JSONB, nullable=False),
)

image_score = Table(
    "image_score",
    metadata,
    _trial_key(primary_key=True),
    Column("scorer", Text, primary_key=True),
    Column("image_key", Text, primary_key=True),
    Column("label", SmallInteger, nullable=False),
    Column("score", Double, nullable=False),
    CheckConstraint("label IN (0, 1)", name="image_score_label"),
)

worker = Table(
    "worker",
    metadata,
    Column("name", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("device", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("grace_s", Double, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("heartbeat_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("drain", Text, nullable=False, server_default=""),
    Column("ended_at", DateTime(timezone=True)),
    Column("end_reason", Text, nullable=False, server_default=""),
    CheckConstraint("drain IN ('', 'now', 'finish')", name="worker_drain"),
)

artifact = Table(
    "artifact",
    metadata,
    _trial_key(primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("sha256", Text, nullable=False, index=True),
    Column("size_bytes", BigInteger, nullable=False),
)

# What was decided before the lock was opened: arms, scorers, seeds, terms. Never changed but for the device.
confirmation = Table(
    "confirmation",
    metadata,
    _study_key(primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("plan", JSONB, nullable=False),
    Column("device", Text, nullable=False, server_default=""),
    Column("made_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("made_by", Text, nullable=False),
)

prediction = Table(
    "prediction",
    metadata,
    _study_key(primary_key=True),
    Column("source", Text, primary_key=True),
    Column("made_at", DateTime(timezone=True), primary_key=True, server_default=func.now()),
    Column("round", Integer, nullable=False),
    Column("gain", Double, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    Column("made_by", Text, nullable=False),
)

# Looks at locked images belong to the images: they outlive the studies.
look = Table(
    "look",
    metadata,
    Column("study_name", Text, primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("arm", Text, primary_key=True),
    Column("seed", BigInteger, primary_key=True, autoincrement=False),
    Column("trial_number", Integer, primary_key=True, autoincrement=False),
    Column("looked_at", DateTime(timezone=True), primary_key=True, server_default=func.now()),
    Column("lock_sha256", Text, nullable=False, index=True),
    Column("worker", Text, nullable=False),
)

look_image = Table(
    "look_image",
    metadata,
    Column("lock_sha256", Text, primary_key=True),
    Column("image_sha256", Text, primary_key=True),
)
