"""What is stored with a trial beside Optuna's parameters and our tables: its user attributes, with their types."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Self, TypeVar, get_args, get_origin, get_type_hints

from anomalyvfm_opt.evaluation.linter.findings import Finding
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.store.planned import Planned

_log = logging.getLogger(__name__)
_Read = TypeVar("_Read")

_EXPORTED = {"is_exported": True}  # there before the trial runs: an export carries it of a trial that is running
_KEPT = {"is_kept": True, **_EXPORTED}  # and a copy of the trial begins with it
_NULLABLE = {"is_nullable": True}  # written as null with the rest of its group, see `TrialRecord.to_attributes`


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """The user attributes of a trial, each under the name of its field; None where a trial has none of a name.

    Nested values stay in JSON's types, so that a copy is the same to the byte and a trial of another version can
    be read; the `read_` methods give them as values. Trials of older versions lack what came later.

    Args:
        reference: name of the reference that it runs, such as `v1.1`; of a study that searches.
        planned: what was decided of it beforehand, see `Planned.to_json`; of a sibling study.
        retry_of: number of the trial that it is a copy of.
        first_number: number of the first try, from which its seed comes.
        times_lost: how many workers its earlier tries took down with them.
        training_seed: that it is trained with.
        alpha: LoRA's alpha, beside `alpha_ratio`.
        texture: share of the training anomalies that are of this kind, 0-1.
        structural: likewise.
        contextual: likewise.
        parameters: all of them, see `Parameters.to_json`; none for the frozen network.
        epoch_losses: mean training loss of each epoch.
        final_ranks: rank of each adapted layer where the adapter allots them (adalora).
        resumed_from_epoch: epochs after which an interrupted run was taken up again.
        parts: the environment of each run of a trial that was interrupted, with `from_epoch`.
        prefix: how many `blocks` were frozen below the first adapted one, how their outputs were come by
            (`store`: `kept`, `full` where some found no room, `none`), and of how many images they were `read` and
            `computed`; of no trial that adapts the first block.
        seconds: of training and scoring, its earlier runs included.
        micro_batch: images of a training step that were in memory at once; null for the frozen network.
        scoring_batch: tiles that were scored at once.
        peak_memory_mib: most memory taken, in MiB; null where nobody counts it.
        device: kind of the device, such as a GPU's model.
        dtype: that it was computed in.
        threads: of the CPU.
        host: name of the machine.
        weights: of the backbone: `pretrained`, `random` or a file.
        versions: library -> version.
        objectives: `synthetic` and `labelled` -> image AUROC (0-1), null where there is no such exam.
        synthetic_scorer: that the synthetic objective comes from.
        synthetic_auroc: scorer -> image AUROC on the synthetic exam.
        scorer: that its value comes from.
        search_auroc: scorer -> image AUROC on the search images; of a confirmation.
        inference_s_per_image: seconds from frame to score; of a confirmation.
        findings: of the linter.
    """

    reference: str | None = field(default=None, metadata=_KEPT)
    planned: Mapping[str, Any] | None = field(default=None, metadata=_KEPT)
    retry_of: int | None = field(default=None, metadata=_EXPORTED)
    first_number: int | None = field(default=None, metadata=_EXPORTED)
    times_lost: int | None = field(default=None, metadata=_EXPORTED)
    training_seed: int | None = None
    alpha: float | None = None
    texture: float | None = None
    structural: float | None = None
    contextual: float | None = None
    parameters: Mapping[str, Any] | None = None
    epoch_losses: tuple[float, ...] | None = None
    final_ranks: Mapping[str, int] | None = None
    resumed_from_epoch: tuple[int, ...] | None = None
    parts: tuple[Mapping[str, Any], ...] | None = None
    prefix: Mapping[str, int | str] | None = None
    seconds: float | None = None
    micro_batch: int | None = field(default=None, metadata=_NULLABLE)
    scoring_batch: int | None = None
    peak_memory_mib: int | None = field(default=None, metadata=_NULLABLE)
    device: str | None = None
    dtype: str | None = None
    threads: int | None = None
    host: str | None = None
    weights: str | None = None
    versions: Mapping[str, str] | None = None
    objectives: Mapping[str, float | None] | None = None
    synthetic_scorer: str | None = None
    synthetic_auroc: Mapping[str, float] | None = None
    scorer: str | None = None
    search_auroc: Mapping[str, float] | None = None
    inference_s_per_image: float | None = None
    findings: tuple[Mapping[str, str], ...] | None = None

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> Self:
        """Read a trial's user attributes; those that people or other tools set are left out.

        So is one of our names that is not of its field's type, which only a hand in the database writes.
        """
        return cls(**{name: _freeze(attributes[name]) for name in NAMES if fits(name, attributes.get(name))})

    @classmethod
    def of_request(cls, seed: int, parameters: Parameters | None) -> Self:
        """Return what is known of a trial when it begins: also what Optuna's own parameters do not show.

        Args:
            seed: of its training.
            parameters: None for the frozen network.
        """
        if parameters is None:
            return cls(training_seed=seed)
        return cls(
            training_seed=seed,
            alpha=parameters.alpha,
            texture=parameters.texture,
            structural=parameters.structural,
            contextual=parameters.contextual,
            parameters=parameters.to_json(),
        )

    @classmethod
    def of_result(cls, attributes: Mapping[str, Any], findings: tuple[Finding, ...]) -> Self:
        """Return what is stored of a trial that came to its end.

        Args:
            attributes: of the run, by the names of the fields.
            findings: of the linter; that there are none is stored as well.

        Raises:
            TypeError: an attribute that no field is for, which no reader would ever see.
        """
        named = {name: _freeze(value) for name, value in attributes.items()}
        return cls(**named, findings=tuple(vars(finding) for finding in findings))

    def to_attributes(self) -> dict[str, Any]:
        """Return the attributes as they are stored, in the order of the fields.

        None is left out, but for `micro_batch` and `peak_memory_mib` of a trial whose memory was measured: these
        two are stored beside `scoring_batch`, and null says something.
        """
        is_measured = self.scoring_batch is not None
        values = {name: getattr(self, name) for name in NAMES}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value is not None or (is_measured and name in _NULLABLE_NAMES)
        }

    def start_again(self, number: int, times_lost: int) -> Self:
        """Return what a copy of this trial begins with.

        Args:
            number: of this trial.
            times_lost: as of the copy.
        """
        kept = {name: getattr(self, name) for name in _KEPT_NAMES}
        return type(self)(
            **kept, retry_of=number, first_number=self.find_first_number(number), times_lost=times_lost
        )

    def find_first_number(self, number: int) -> int:
        """Return the number of the first try: this trial's own, `number`, if it is the first."""
        return number if self.first_number is None else self.first_number

    @property
    def spent_s(self) -> float:
        """Seconds of training and scoring; 0 where they were not stored."""
        return 0.0 if self.seconds is None else float(self.seconds)

    def read_planned(self, own_size_px: int) -> Planned | None:
        """Return what was decided of the trial beforehand; None if it was not planned, or that cannot be read.

        Args:
            own_size_px: the image size of the spec, as in `Parameters.from_json`.
        """
        planned = self.planned
        return None if planned is None else _try(lambda: Planned.from_json(planned, own_size_px), "planned")

    def read_parameters(self, own_size_px: int) -> Parameters | None:
        """Return its parameters; None for the frozen network, a trial that never began, or what cannot be read.

        Args:
            own_size_px: the image size of the spec, as in `Parameters.from_json`.
        """
        stored = self.parameters
        return None if stored is None else _try(lambda: Parameters.from_json(stored, own_size_px), "parameters")

    def read_findings(self) -> tuple[Finding, ...]:
        """Return what the linter found; nothing in trials of older versions."""
        return _try(lambda: tuple(map(Finding.from_stored, self.findings or ())), "findings") or ()


NAMES = tuple(each.name for each in fields(TrialRecord))
BEFORE_THE_RUN = tuple(each.name for each in fields(TrialRecord) if each.metadata.get("is_exported"))
_KEPT_NAMES = tuple(each.name for each in fields(TrialRecord) if each.metadata.get("is_kept"))
_NULLABLE_NAMES = tuple(each.name for each in fields(TrialRecord) if each.metadata.get("is_nullable"))


def fits(name: str, value: Any) -> bool:
    """Return whether an attribute's value is of the type of its field; None, as where there is none, is not.

    Nor is a number that is not finite: whatever was reckoned with it would be NaN.

    Args:
        name: of a field of `TrialRecord`.
        value: out of JSON.
    """
    outer, inner = _TYPES[name]
    if not isinstance(value, outer) or isinstance(value, bool):
        return False
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return all(isinstance(one, inner) for one in values) and all(map(_is_finite, [value, *values]))


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or isfinite(value)


def _try(read: Callable[[], _Read], name: str) -> _Read | None:
    """Read an attribute that a hand in the database may have written; what it means is nothing then."""
    try:
        return read()
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        _log.warning("the attribute %s of a trial is left out: %s: %s", name, type(error).__name__, error)
        return None


def _find_types(hint: Any) -> tuple[tuple[type, ...], tuple[type, ...]]:
    """Return JSON's types of a field, and those of the values in it."""
    outer: tuple[type, ...] = ()
    inner: tuple[type, ...] = ()
    for kind in get_args(hint) if get_origin(hint) is UnionType else (hint,):
        origin = get_origin(kind)
        if origin is not None:  # a mapping, or a tuple of one kind
            outer += (dict,) if issubclass(origin, Mapping) else (list,)
            inner = _find_types(next(one for one in reversed(get_args(kind)) if one is not Ellipsis))[0]
        elif kind is Any:
            outer += (object,)
        else:
            outer += (float, int) if kind is float else (kind,)
    return outer, inner


def _without_none(types: tuple[type, ...]) -> tuple[type, ...]:
    return tuple(kind for kind in types if kind is not NoneType)


_TYPES = {
    name: (_without_none(outer), inner)
    for name, hint in get_type_hints(TrialRecord).items()
    for outer, inner in (_find_types(hint),)
}


def _freeze(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
