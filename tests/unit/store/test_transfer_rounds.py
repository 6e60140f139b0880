"""What a file may say of a confirmation: a round has trials, metrics and scores, and a plan that can be read."""

from pathlib import Path
from typing import Any

import pytest

from tests.exported import Change, Chunks, cut_export, find_rows, put, refuse

LOCKED = "brick/test_public/bad/000_overexposed.png"


def put_plan(*path: str, value: Any) -> Change:
    """Write a value into the first round's plan."""

    def change(chunks: Chunks) -> None:
        place = find_rows(chunks, "confirmation", 2)[0]["plan"]
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value

    return change


def drop_rows(table: str, section: int, **found: Any) -> Change:
    """Take the rows out of a table that have these values."""

    def change(chunks: Chunks) -> None:
        rows = find_rows(chunks, table, section)
        rows[:] = [row for row in rows if any(row[name] != value for name, value in found.items())]

    return change


HOSTILE: dict[str, tuple[Change, str]] = {
    "a sibling of other images": (put("study_image", "scene", "x", 2), "#confirm has other rows of the table"),
    "a sibling of another spec": (lambda c: find_rows(c, "opt.study", 1)[0]["spec"].update(description="x"),
                                  "#replicates has other rows of the table anomalyvfm_opt.study than kept/brick"),
    "a plan of nothing": (put("confirmation", "plan", {}, 2), "column plan: arms is missing"),
    "a plan without finalist": (lambda c: find_rows(c, "confirmation", 2)[0]["plan"]["arms"].pop("finalist"),
                                "column plan: there is no arm finalist among ['baseline', 'frozen']"),
    "an arm that nobody trained": (lambda c: put_plan("arms", "x", value=find_rows(c, "confirmation", 2)[0]["plan"]
                                                      ["arms"]["frozen"])(c), "no planned trial of the arm 'x'"),
    "a term of text": (put_plan("terms", "min_gain", value="x"), "a valid number, and terms.min_gain is 'x'"),
    "a term without end": (put_plan("terms", "max_cost_ratio", value=10**400), "numbers of at most 308 digits"),
    "a term that nobody keeps": (put_plan("terms", "mercy", value=1), "and terms.mercy is 1"),
    "a confidence of 2": (put_plan("terms", "confidence", value=2), "less than 1, and terms.confidence is 2"),
    "none judged": (put_plan("terms", "judged", value=0), "and terms.judged is 0"),
    "an arm without values": (put_plan("arms", "finalist", "search_values", value=[]), "search_values is []"),
    "a reason that is a list": (put_plan("reason", value=[1]), "a valid string, and reason is [1]"),
    "other seeds": (put_plan("seeds", value=9), "the arm 'baseline' has trials of 1 seeds, not of 9"),
    "another arm's scorer": (put_plan("arms", "finalist", "scorer", value="patch_knn"),
                             "the arm 'finalist' has not the parameters and scorer of its trial 0"),
    "an arm of other parameters": (put_plan("arms", "finalist", "parameters", "rank", value=2),
                                   "the arm 'finalist' has not the parameters and scorer of its trial 0"),
    "an arm of no rank": (put_plan("arms", "finalist", "parameters", "rank", value=0), "and rank is 0"),
    "a round without end": (put("confirmation", "round", 2**31 - 1, 2), "column round: should be a whole number"),
    "a round of a search": (lambda c: find_rows(c, "opt.study") and c.insert(
        [chunk["table"] for chunk in c].index("anomalyvfm_opt.study") + 1,
        {"table": "anomalyvfm_opt.confirmation", "rows": find_rows(c, "confirmation", 2)},
    ), "should be of kept/brick#confirm, which alone has rounds"),
    "a locked image without score": (drop_rows("image_score", 2, trial=1, image_key=LOCKED),
                                     "trial 1 is complete, and not all 33 locked images have a score"),
    "no metric by the scorer": (drop_rows("trial_metric", 2, trial=1), "or it has no metric by it"),
    "a score by another scorer": (put("image_score", "scorer", "x", 2), "by which the trial is judged"),
    "fewer draws": (lambda c: (rows := find_rows(c, "trial_resample", 2)).append(
        {**rows[0], "trial": 2, "draws": [0.5]}), "column draws: should be 400 numbers, as in its round, not 1"),
    "no draws": (put("trial_resample", "draws", [], 2), "should be a list of numbers, at least one"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_round_that_no_verdict_could_be_read_from_is_refused(tmp_path: Path, name: str) -> None:
    change, message = HOSTILE[name]
    header, chunks = cut_export()
    change(chunks)
    assert message in str(refuse(tmp_path / "s.jsonl", header, chunks))
