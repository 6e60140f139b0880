"""Studies in the store: native Optuna studies, with what makes them ours beside them."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Engine, Row, insert, select

from anomalyvfm_opt import METHOD
from anomalyvfm_opt.data.names import find_name, to_form
from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.spec.difference import find_differences
from anomalyvfm_opt.spec.model import Spec, hash_content
from anomalyvfm_opt.spec.shown import shorten
from anomalyvfm_opt.spec.study_name import Kind, StudyName, guess_spec, is_sibling_of
from anomalyvfm_opt.store import tables
from anomalyvfm_opt.store.advisory import locked
from anomalyvfm_opt.store.division import StoredImage, is_same_by_form
from anomalyvfm_opt.store.optuna_private import read_study_id
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.trial_record import TrialRecord

_SHOWN = 8  # names, where one is not known
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyRecord:
    """What the store knows of a study beside Optuna's own rows."""

    study_id: int
    name: str
    category: str
    spec: Spec
    spec_sha256: str
    data_dir: str
    lock: str
    split_sha256: str
    weights_sha256: str
    budget: int
    masks_sha256: str | None = None  # None in a study that is older than it: not known, so not compared
    judged: int | None = None  # categories of the spec when it was created; None in an older study
    method: int = METHOD  # that its numbers are computed by
    is_spec_intact: bool = True  # whether the stored spec still has the hash that was stored with it

    @property
    def kind(self) -> Kind:
        """What the study does: search, replicates or confirm."""
        return StudyName.parse(self.name).kind

    @property
    def family(self) -> str:
        """The name of the study that searches, which this one is or stands beside."""
        return StudyName.parse(self.name).family

    def name_sibling(self, kind: Kind) -> str:
        """Return the name of the study beside it that does something else, whether it is there or not."""
        return str(StudyName.parse(self.name).sibling(kind))


_FIELDS = {field.name for field in fields(StudyRecord)}


@dataclass(frozen=True)
class NewStudy:
    """A study to be created: a spec, a category, and the hashes of the data and weights that it stands on."""

    spec: Spec
    category: str
    data_dir: str
    split_sha256: str
    weights_sha256: str
    images: tuple[StoredImage, ...]
    masks_sha256: str | None = None
    judged: int = 1  # categories of the spec

    @property
    def name(self) -> str:
        """`<spec>/<category>`."""
        return self.spec.study_name(self.category)

    def to_row(self) -> dict[str, Any]:
        """Return its row of the table `study`, without its id: its fields of the same names, and what they say."""
        return {
            **{name: value for name, value in vars(self).items() if name in tables.study.c},
            "spec": self.spec.model_dump(mode="json"),
            "spec_sha256": self.spec.sha256(),
            "lock": self.spec.data.lock,
            "budget": self.spec.search.trials,
            "method": METHOD,
        }


def create_study(store: Store, new: NewStudy, references: Mapping[str, dict[str, Any] | None]) -> bool:
    """Create a study with its references waiting first; the same study again is a no-op.

    An interrupted creation is completed by the next call, and two calls at once create one study.

    Args:
        store: the study store.
        new: the study.
        references: name -> parameters to enqueue, or None for one that is run without sampled parameters.

    Returns:
        True if it was created (or its creation completed), False if it was there.

    Raises:
        UsageError: a study of that name exists with another spec, data, masks or weights; the difference is shown.
        EnvironmentMissingError: another session holds the lock of that name; it is named.
    """
    import optuna
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    with store.engine.connect() as connection, locked(connection, to_form(new.name), f"to create {new.name}"):
        stored = find_study(connection, new.name)
        has_same_images = (
            stored is not None
            and stored.split_sha256 != new.split_sha256
            and is_same_by_form(connection, stored.study_id, new.images)
        )
        connection.rollback()
        if stored is not None:
            _check_same(stored, new, has_same_images)
            return False
        study = optuna.create_study(
            storage=store.storage, study_name=new.name, direction="maximize", load_if_exists=True
        )
        trials = study.get_trials(deepcopy=False)
        is_foreign = study.direction is not StudyDirection.MAXIMIZE
        if is_foreign or any(trial.state is not TrialState.WAITING for trial in trials):
            raise UsageError(
                f"an Optuna study {new.name!r} that is not ours is in this database",
                "give the spec another name",
            )
        enqueued = {TrialRecord.from_attributes(trial.user_attrs).reference for trial in trials}
        for name, parameters in references.items():
            if name not in enqueued:
                study.enqueue_trial(parameters or {}, user_attrs=TrialRecord(reference=name).to_attributes())
        _insert_study(connection, read_study_id(study), new)  # the row that makes the creation complete
        connection.commit()
    return True


def load_study(engine: Engine, name: str) -> StudyRecord:
    """Return one study by its full name.

    Raises:
        UsageError: no such study; near names are shown.
    """
    with engine.connect() as connection:
        found = find_study(connection, name)
    if found is not None:
        return found
    raise UsageError(f"no study {name!r}", _suggest(name, list_names(engine)))


def _suggest(name: str, known: Sequence[str]) -> str:
    """Return what to do about a name that no study has: one like it, or what there is."""
    if not known:
        return "create one: anomalyvfm-opt study create SPEC --data DIR"
    specs = list(dict.fromkeys(guess_spec(other) for other in known))
    if close := get_close_matches(name, [*specs, *known], n=2):
        return f"did you mean {' or '.join(close)}?"
    near = [other for other in known if guess_spec(name) in other] or known
    more = f" and {len(near) - _SHOWN} more" if len(near) > _SHOWN else ""
    return f"studies here: {', '.join(near[:_SHOWN])}{more}"


def find_study(connection: Connection, name: str) -> StudyRecord | None:
    """Return one study by its full name, in whatever Unicode form; None if it is not there."""

    def find(exact: str) -> Row[Any] | None:
        query = _select_studies().where(tables.optuna_studies.c.study_name == exact)
        return connection.execute(query).one_or_none()

    row = find(name)
    if row is None and not name.isascii() and (other := find_name(name, _list_names(connection))) is not None:
        row = find(other)
    return None if row is None else _to_record(row)


def list_studies(engine: Engine) -> list[StudyRecord]:
    """Return all studies of ours, in the order of their creation; one that cannot be read is named in the log."""
    records = []
    with engine.connect() as connection:
        for row in connection.execute(_select_studies()):
            try:
                records.append(_to_record(row))
            except EnvironmentMissingError as error:
                _log.warning("%s", error)
    return records


def count_categories(engine: Engine, spec_name: str) -> int:
    """Return how many categories of a spec have a study."""
    return len({record.category for record in list_studies(engine) if record.spec.name == spec_name})


def list_names(engine: Engine) -> list[str]:
    """Return names of all studies of ours, also of those that another version of this program stored."""
    with engine.connect() as connection:
        return _list_names(connection)


def _list_names(connection: Connection) -> list[str]:
    query = select(tables.optuna_studies.c.study_name).join(
        tables.study, tables.study.c.study_id == tables.optuna_studies.c.study_id
    )
    return list(connection.scalars(query.order_by(tables.study.c.study_id)))


def delete_study(store: Store, name: str) -> None:
    """Delete a study, its siblings, their trials, and all rows of ours that hang on them; workers find them gone.

    Looks at locked images stay: they belong to the images. What another process deletes meanwhile is deleted.

    Raises:
        EnvironmentMissingError: a worker wrote to it at that moment; Optuna then leaves it as it was.
    """
    import optuna

    there = optuna.get_all_study_names(store.storage)
    family = [other for other in there if is_sibling_of(other, name)]  # first: without it they would mean nothing
    for doomed in (*family, name):
        with suppress(KeyError):
            optuna.delete_study(study_name=doomed, storage=store.storage)
    left = set(optuna.get_all_study_names(store.storage)).intersection((*family, name))
    if left:
        raise EnvironmentMissingError(
            f"{', '.join(sorted(left))} is not deleted: a worker writes to it", "stop its workers, then repeat"
        )


def _select_studies() -> Any:
    join = tables.study.join(tables.optuna_studies, tables.study.c.study_id == tables.optuna_studies.c.study_id)
    known = [column for column in tables.study.c if column.name in _FIELDS]  # what changes is asked for elsewhere
    return (
        select(*known, tables.optuna_studies.c.study_name.label("name"))
        .select_from(join)
        .order_by(tables.study.c.study_id)
    )


def _to_record(row: Row[Any]) -> StudyRecord:
    values = row._asdict()
    try:
        StudyName.parse(values["name"])
    except ValueError as error:
        raise EnvironmentMissingError(
            f"a study of this store cannot be read: {error}",
            "it was not made by this program: delete it with Optuna, by that name",
        ) from None
    try:
        spec = Spec.model_validate(values["spec"])
    except ValidationError as error:
        raise EnvironmentMissingError(
            f"study {values['name']!r} was stored by another version of this program, which this one cannot read:"
            f" {shorten(error.errors()[0]['msg'])} at {shorten('.'.join(map(str, error.errors()[0]['loc'])))}",
            f"use that version, or delete the study: anomalyvfm-opt study delete {values['name']}",
        ) from None
    # JSONB writes a number in its own way (1e99 as an integer); a spec of an older version has fewer fields
    is_intact = values["spec_sha256"] in (hash_content(values["spec"]), spec.sha256())
    return StudyRecord(**{**values, "spec": spec, "is_spec_intact": is_intact})


def _insert_study(connection: Connection, study_id: int, new: NewStudy) -> None:
    connection.execute(insert(tables.study).values(study_id=study_id, **new.to_row()))
    rows = [{"study_id": study_id, **vars(image)} for image in new.images]
    connection.execute(insert(tables.study_image), rows)


def _check_same(stored: StudyRecord, new: NewStudy, has_same_images: bool) -> None:
    has_same_weights = stored.weights_sha256 == new.weights_sha256  # then it does not matter where they lie
    ignored = ("backbone.weights",) if has_same_weights else ()
    found = find_differences(stored.spec.content(), new.spec.content(), ignored)
    differences = [difference.line for difference in found]
    if stored.split_sha256 != new.split_sha256 and not has_same_images:
        differences.append(f"images (content hash): {stored.split_sha256[:12]} -> {new.split_sha256[:12]}")
    masks = (stored.masks_sha256, new.masks_sha256)
    if all(masks) and masks[0] != masks[1] and not has_same_images:
        differences.append(f"masks (content hash): {str(masks[0])[:12]} -> {str(masks[1])[:12]}")
    if not has_same_weights:
        differences.append(f"weights (hash): {stored.weights_sha256[:12]} -> {new.weights_sha256[:12]}")
    if differences:
        raise UsageError(
            f"study {new.name!r} exists with another content:\n  " + "\n  ".join(differences),
            "give the changed spec another name, or delete the study: anomalyvfm-opt study delete " + new.name,
        )
