"""All studies at a glance: the same as each summary says, in as many statements however many studies there are."""

from typing import Any

from sqlalchemy import event

from anomalyvfm_opt.report.overview import Overview, list_overviews
from anomalyvfm_opt.report.summary import summarise, to_json
from anomalyvfm_opt.store.scores import read_scores
from anomalyvfm_opt.store.selection import select_families
from anomalyvfm_opt.store.studies import load_study
from anomalyvfm_opt.verdict.read_trials import list_sibling_runs
from tests.integration.conftest import Bench
from tests.integration.families import Families, Family
from tests.integration.test_findings import BROKEN, DOUBTFUL, find_in


def look(bench: Bench) -> list[Overview]:
    return list_overviews(bench.store, select_families(bench.store.engine, []))


def test_it_says_what_each_summary_says(store: Families) -> None:
    family = store.found("seen")
    family.search()
    family.confirm()
    overviews = [one for one in look(family.bench) if one.record.family == family.name]
    assert {one.record.kind for one in overviews} == {"search", "replicates", "confirm"}
    for one in overviews:
        summary = summarise(family.store, load_study(family.store.engine, one.record.name))
        assert one.to_json().items() <= to_json(summary).items()
        assert one.best == (summary.best.value if summary.best else None)
        assert one.noise == summary.noise
    (noise,) = [one.noise for one in overviews if one.noise]
    labels = [label for label, _ in read_first_scores(family).values()]
    assert noise.floor.step == 1 / (labels.count(0) * labels.count(1))


def read_first_scores(family: Family) -> dict[str, tuple[int, float]]:
    """The labels and scores of the first replicate."""
    store = family.store
    first = list_sibling_runs(store, load_study(store.engine, family.name), "replicates")[0]
    return read_scores(store.engine, first.trial_id, next(iter(first.aurocs)))


def test_the_best_value_is_one_that_can_be_trusted(bench: Bench) -> None:
    loop = bench.loop(find_in(1, BROKEN, DOUBTFUL, value=1.0))
    for _ in range(3):
        loop.take_turn()
    sound = [trial.value for trial in bench.study().get_trials() if trial.number != 1]
    (one,) = look(bench)
    assert one.best == max(value for value in sound if value is not None) < 1.0


def test_a_quote_in_a_message_does_not_make_a_trial_unsound(bench: Bench) -> None:
    quoting = type(DOUBTFUL)("flat_loss", DOUBTFUL.severity, '{"severity": "broken"} was expected')
    loop = bench.loop(find_in(1, quoting, value=1.0))
    for _ in range(2):
        loop.take_turn()
    (one,) = look(bench)
    assert one.best == 1.0


def test_the_number_of_statements_does_not_grow(store: Families) -> None:
    family = store.found("first")
    statements: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    event.listen(family.store.engine, "before_cursor_execute", count)
    there = len(look(family.bench))
    first = len(statements)
    store.found("second")
    statements.clear()
    assert len(look(family.bench)) == there + 1
    assert len(statements) == first
