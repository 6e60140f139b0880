"""The results of studies, as `demo` and `study show` print them: a row for each, and the particulars of one."""

from collections.abc import Sequence

from anomalyvfm_opt.model.offline_weights import find_caveat
from anomalyvfm_opt.report.grid import Grid, Part
from anomalyvfm_opt.report.outcome_text import describe_outcome
from anomalyvfm_opt.report.proxy import Proxy, describe_proxy
from anomalyvfm_opt.report.setting import SETTING_HEADING, describe_load
from anomalyvfm_opt.report.summary import FailureSummary, ResultRow, StudySummary, tabulate
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.store.workers import WorkerRow
from anomalyvfm_opt.trial.outcome import Outcome
from anomalyvfm_opt.verdict.replicates import Noise, name_baseline
from anomalyvfm_opt.words import counted

_COLUMNS = (
    "category",
    "frozen",
    "heads",
    "v1.1",
    "v1.2",
    "best",
    "change",
    "noise",
    SETTING_HEADING,
    "mix t/s/c %",
    "scorer",
    "seconds",
)
_WORDS = ("category", SETTING_HEADING, "mix t/s/c %", "scorer")


def describe_results(summaries: Sequence[StudySummary]) -> list[Part]:
    """Return a table with a row for each study that searches, and what the numbers are and are not.

    Without such a study there is neither.
    """
    summaries = [summary for summary in summaries if summary.record.kind == "search"]
    if not summaries:
        return []
    parts: list[Part] = [_describe_rows(tabulate(summaries))]
    parts += filter(None, map(describe_outcome, summaries))
    backbones = [summary.record.spec.backbone for summary in summaries]
    if any(each.weights == "random" for each in backbones):
        parts.append(
            "RANDOM WEIGHTS: the backbone of these studies learned nothing; the numbers show that it runs."
        )
    caveats = sorted({find_caveat(each.name, each.weights) for each in backbones} - {""})
    parts += [f"OFFLINE WEIGHTS: {caveat}." for caveat in caveats]
    baselines = sorted({name_baseline(summary.record) for summary in summaries})
    parts.append(
        "These are single-seed values on search data, the best of several tries: they prove nothing yet."
        f" change = best - {' or '.join(baselines)}, and the best of many is high by luck alone. noise = how far"
        " one more seed of the baseline lies from the mean of its seeds in 95 % of cases: a smaller change is no"
        " finding. Other words: anomalyvfm-opt glossary."
    )
    return parts


def _describe_rows(rows: Sequence[ResultRow]) -> Grid:
    """Return the table, without a column for a reference that no spec has."""
    cells = [tuple(vars(row).values()) for row in rows]
    kept = [number for number in range(len(_COLUMNS)) if any(row[number] is not None for row in cells)]
    return Grid(
        "Image AUROC on search data",
        tuple(_COLUMNS[number] for number in kept),
        [tuple(row[number] or "-" for number in kept) for row in cells],
        right=tuple(place for place, number in enumerate(kept) if _COLUMNS[number] not in _WORDS),
    )


def describe_study(summary: StudySummary, proxy: Proxy | None) -> Grid:
    """Return one study's particulars, and whether its synthetic objective is worth anything."""
    record, usage, images = summary.record, summary.usage, summary.images
    spec = record.spec
    rows = [
        ("state", summary.state + (f": {summary.set_state.reason}" if summary.set_state.reason else "")),
        ("budget", f"{usage.done} of {counted(record.budget, 'trial')} done"),
        (
            "trials",
            f"{usage.complete} complete, {usage.pruned} pruned, {usage.failed} failed,"
            f" {usage.running} running, {usage.waiting} waiting"
            + (f"; {usage.given_back} given back (a copy of each is run)" if usage.given_back else ""),
        ),
        *[(f"trial {w.trial}", _describe_worker(w)) for w in summary.workers],
        ("backbone", f"{spec.backbone.name}, {spec.backbone.weights} weights, {_describe_size(spec)}"),
        *([("weights", caveat)] if (caveat := find_caveat(spec.backbone.name, spec.backbone.weights)) else []),
        ("data", record.data_dir),
        (
            "images",
            f"{images.get('fit', 0)} to train on, {images.get('held_out', 0)} held out normals,"
            f" {images.get('search', 0)} to search on, {images.get('locked', 0)} locked (lock: {record.lock})",
        ),
        ("objective", f"image AUROC of {_name_objective(spec.scoring.objective)}"),
        *_describe_best(summary),
        *_describe_noise(summary),
        *_describe_arms(summary),
        *([] if proxy is None else describe_proxy(proxy)),
    ]
    rows += [(f"trial {f.number} {f.outcome}", _describe_failure(f, spec)) for f in summary.failures]
    rows += [
        (f"trial {number} {finding.check}", f"{finding.severity}: {finding.message}")
        for number, finding in summary.findings
    ]
    if unsound := summary.list_unsound():
        numbers = ", ".join(map(str, unsound))
        rows.append(("unsound", f"trial {numbers}: neither the best trial nor the sampler builds on its value"))
    return Grid("", (record.name, ""), rows)


def _describe_worker(worker: WorkerRow) -> str:
    """Say who runs a trial, and how far that is."""
    if worker.epoch is None or worker.epochs is None:
        return f"{worker.state} on {worker.name}"
    return f"epoch {worker.epoch}/{worker.epochs}, {worker.state} on {worker.name}"


def _describe_best(summary: StudySummary) -> list[tuple[str, str]]:
    """Return the best trial with its size where sizes are searched; `frozen` has that of the references."""
    best = summary.best
    spec = summary.record.spec
    if best is None or not spec.is_size_searched:
        return []
    size = best.parameters.image_size_px if best.parameters else spec.data.image_size_px
    return [("best", f"trial {best.number}, {best.value:.4f} at {size} px")]


def _describe_noise(summary: StudySummary) -> list[tuple[str, str]]:
    """Return the noise floor, and what a confirmation could see with it."""
    noise = summary.noise
    if noise is None:
        return []
    floor = noise.floor
    values = ", ".join(f"{value:.4f}" for value in floor.values)
    rows = [
        (
            "noise floor",
            f"{noise.reference} under {_count_seeds(noise)} by {noise.scorer}: {values};"
            f" SD {floor.sd:.4f}; a trial counts from {floor.least_difference:.4f} away"
            f" from their mean {floor.mean:.4f}",
        )
    ]
    if summary.could_see is not None:
        rows.append(("could see", f"with that SD a confirmation shows a gain of about {summary.could_see:.3f}"))
    return rows


def _count_seeds(noise: Noise) -> str:
    """Say how many seeds the noise floor is made of, and whether that is all of them."""
    count = len(noise.floor.values)
    total = count + noise.open_seeds
    return f"{count} of {total} seeds so far" if noise.open_seeds else counted(count, "seed")


def _describe_arms(summary: StudySummary) -> list[tuple[str, str]]:
    """Return a sibling's arms. What the locked images say is for the verdict, when all are done."""
    rows = []
    for arm in summary.arms:
        text = f"{len(arm.done)} of {len(arm.runs)} trained" + (
            f", {len(arm.failed)} failed" if arm.failed else ""
        )
        scorer = arm.choose_scorer(summary.record.spec.scoring.objective)
        if summary.record.kind == "replicates" and scorer is not None:
            text += f"; by {scorer}: {', '.join(f'{value:.4f}' for value in arm.list_values(scorer))}"
        rows.append((arm.name, text))
    return rows


def _describe_failure(failure: FailureSummary, spec: Spec) -> str:
    """Return the last line of its message; of a trial that does not fit also what it was."""
    message = failure.message.strip().splitlines()[-1] if failure.message.strip() else "-"
    if failure.outcome != Outcome.OUT_OF_MEMORY or failure.parameters is None:
        return message
    return f"{describe_load(failure.parameters, spec.search.space)}: {message}"


def _describe_size(spec: Spec) -> str:
    data = spec.data
    sizes = " or ".join(map(str, spec.search.space.image_size_px or (data.image_size_px,)))
    parts = [f"{sizes} px", *(["aspect kept"] if data.aspect == "keep" else [])]
    return ", ".join([*parts, *([f"tiles of {data.tiles.size_px} px"] if data.tiles else [])])


def _name_objective(objective: str) -> str:
    return "the best scorer" if objective == "best" else f"scorer {objective}"
