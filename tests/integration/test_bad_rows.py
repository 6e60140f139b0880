"""A store where somebody wrote rows that no program of ours writes: they are named, and the rest goes on."""

from pathlib import Path

import pytest

from anomalyvfm_opt.verdict.read_ledger import predict
from tests.integration.conftest import Bench
from tests.integration.databases import execute
from tests.integration.families import Families
from tests.integration.program import run_in_process

BAD = {
    "a study's name": "INSERT INTO studies (study_name) VALUES ('noslash'); INSERT INTO anomalyvfm_opt.study"
    " SELECT (SELECT study_id FROM studies WHERE study_name = 'noslash'), (s).category, (s).spec, (s).spec_sha256,"
    " (s).data_dir, (s).lock, (s).split_sha256, (s).weights_sha256, (s).budget"
    " FROM anomalyvfm_opt.study s LIMIT 1",
    "a value": "UPDATE trial_values SET value = 1e308",
    "an endless value": "UPDATE trial_values SET value = NULL, value_type = 'INF_POS'",
    "a spec": "INSERT INTO studies (study_name) VALUES ('odd/x'); INSERT INTO anomalyvfm_opt.study"
    " SELECT (SELECT study_id FROM studies WHERE study_name = 'odd/x'), 'x', '[1]', '', '', '', '', '', 1",
    "an attribute": "INSERT INTO trial_user_attributes (trial_id, key, value_json)"
    " SELECT min(trial_id), 'note', '{' FROM trials",
    "an attribute of ours": "UPDATE trial_user_attributes SET value_json = 'nonsense' WHERE key = 'seconds'",
    **{
        f"an attribute of another type: {key}": "INSERT INTO trial_user_attributes (trial_id, key, value_json)"  # noqa: S608
        f" SELECT min(trial_id), '{key}', '{value}' FROM trials"
        " ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json"
        for key, value in {
            "findings": '[{"check": 1}]',
            "objectives": '["x"]',
            "synthetic_auroc": '{"x": 0.5}',
            "parameters": '{"rank": "x"}',
            "planned": "5",
            "reference": "[1]",
            "scorer": "{}",
            "seconds": '"x"',
        }.items()
    },
}
NAMED = {"a study's name": "noslash", "a spec": "odd/x", "an attribute of ours": "seconds"}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_row_is_named_and_the_rest_goes_on(bench: Bench, kind: str, tmp_path: Path) -> None:
    bench.loop().take_turn()
    url = bench.engine.url.render_as_string(hide_password=False)
    for statement in BAD[kind].split("; "):
        execute(url, statement)
    environment = {"ANOMALYVFM_OPT_DB_URL": url}
    said = ""
    for arguments in (
        ["study", "list"],
        ["study", "show", "tiny/tile"],
        ["forecast", "list"],
        ["worker", "list"],
    ):
        done = run_in_process(arguments, environment)
        assert "bug" not in done.stderr
        assert done.returncode == 0, (arguments, done.stderr)
        assert "nan" not in done.stdout
        said += done.stderr
    assert NAMED.get(kind, "") in said  # an attribute that no command reads is not missed
    bench.loop().take_turn()  # a worker as well
    assert bench.study().trials[1].state.is_finished()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE anomalyvfm_opt.confirmation SET plan = '{}'",
        """UPDATE anomalyvfm_opt.confirmation SET plan = jsonb_set(plan, '{terms,x}', '1')""",
        """UPDATE anomalyvfm_opt.confirmation SET plan = plan #- '{arms,finalist}'""",
        """UPDATE anomalyvfm_opt.confirmation SET plan = jsonb_set(plan, '{terms,confidence}', '"x"')""",
        """UPDATE anomalyvfm_opt.confirmation SET plan = jsonb_set(plan, '{terms,judged}', '0')""",
        """UPDATE anomalyvfm_opt.confirmation SET plan = jsonb_set(plan, '{search_value}', '"x"')""",
        """UPDATE anomalyvfm_opt.confirmation SET plan = jsonb_set(plan, '{arms,finalist,search_values}', '[]')""",
        """UPDATE anomalyvfm_opt.confirmation SET plan = jsonb_set(plan, '{arms,baseline,parameters}', '8')""",
        """UPDATE anomalyvfm_opt.confirmation SET plan = jsonb_set(plan, '{arms}', '[]')""",
        "UPDATE anomalyvfm_opt.trial_metric SET scorer = scorer || '-x'",
        "UPDATE anomalyvfm_opt.confirmation SET round = 2147483647",
    ],
)
def test_a_round_that_cannot_be_read_is_named(
    store: Families, request: pytest.FixtureRequest, statement: str
) -> None:
    family = store.found(f"odd{abs(hash(request.node.name))}")
    family.search()
    predict(family.engine, family.bench.record, 0.05, "a hope")
    family.confirm()
    url = family.engine.url.render_as_string(hide_password=False)
    execute(url, statement)
    environment = {"ANOMALYVFM_OPT_DB_URL": url}
    verdict = run_in_process(["verdict", family.name], environment)
    assert (verdict.returncode, "bug" in verdict.stderr) == (3, False), verdict.stderr
    predictions = run_in_process(["forecast", "list"], environment)
    assert (predictions.returncode, "bug" in predictions.stderr) == (0, False), predictions.stderr
    confirm = run_in_process(["confirm", family.name, "--no-wait"], environment)
    expected = 3 if " SET plan = " in statement else 0  # who follows a round reads its plan alone
    assert (confirm.returncode, "bug" in confirm.stderr) == (expected, False), confirm.stderr
