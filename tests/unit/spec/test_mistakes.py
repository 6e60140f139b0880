"""Broken specs, and every line that is said about each of them."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from anomalyvfm_opt.errors import EXIT_USAGE, SpecError
from anomalyvfm_opt.spec.load import load_spec

SOUND = """\
name: x
data: {image_size_px: 64, lock: half}
backbone: {decoder_blocks: [1, 2]}
training: {batch_size: 4}
scoring: {objective: best}
references: [frozen]
search:
  trials: 5
  sampler: tpe
  space: {rank: [4]}
"""
DATA, SPACE = SOUND.splitlines()[1], SOUND.splitlines()[-1]
MISTAKES = YAML(typ="safe", pure=True).load(Path(__file__).with_name("mistakes.yaml"))

SEVERAL = """\
name: a b
data:
  image_size_px: 1000
  lock: hlf
  aspct: keep
  tiles: {size_px: 518, overlap_px: 0}
training: {batch_size: 15}
references: [frozen, v1.1, v1.2]
search:
  trials: 2
  sampler: tpr
  space:
    adapter: [loro]
    rank: [4, 8, 4]
    epochs: {low: 9, high: 3}
    learning_rate: {low: 1e-4, high: 1e-3, log: maybe}
"""
ALL_OF_SEVERAL = """\
1:1: name: should be letters, digits, _ . or -, and begin with a letter or digit, not 'a b'
3:3: data.image_size_px: 1000 is not covered by tiles of 518 px every 518 px; use 518 or 1036
4:3: data.lock: should be 'all' or 'half', not 'hlf'; did you mean 'half'?
5:3: data.aspct: unknown key; did you mean 'aspect'?
7:12: training.batch_size: should be a multiple of 2, not 15
10:3: search.trials: 2 cannot hold the 3 references, which count against the budget
11:3: search.sampler: should be 'tpe' or 'random', not 'tpr'; did you mean 'tpe'?
13:15: search.space.adapter.0: should be 'lora', 'rslora', 'dora', 'adalora' or 'none', not 'loro'; did you mean 'lora'?
14:18: search.space.rank.2: 4 is listed twice
15:5: search.space.epochs: low 9 is above high 3
16:44: search.space.learning_rate.log: should be true or false, not 'maybe'
"""  # noqa: E501


def complain_about(folder: Path, text: str) -> list[str]:
    """What is said about a spec, without the path before each line."""
    path = folder / "spec.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert caught.value.exit_code == EXIT_USAGE
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}:") for line in lines)
    return [line.removeprefix(f"{path}:") for line in lines]


@pytest.mark.parametrize("mistake", MISTAKES, ids=[mistake["name"] for mistake in MISTAKES])
def test_a_mistake_is_one_line_at_its_place(tmp_path: Path, mistake: dict[str, str]) -> None:
    assert mistake["replace"] in SOUND
    assert complain_about(tmp_path, SOUND.replace(mistake["replace"], mistake["by"])) == [mistake["line"]]


def test_the_spec_that_the_mistakes_are_made_in_is_sound(tmp_path: Path) -> None:
    (tmp_path / "sound.yaml").write_text(SOUND)
    assert load_spec(tmp_path / "sound.yaml").name == "x"


def test_all_mistakes_are_shown_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    assert complain_about(tmp_path, SEVERAL) == ALL_OF_SEVERAL.splitlines()


def test_a_default_takes_part_in_a_contradiction(tmp_path: Path) -> None:
    text = "name: x\ndata: {image_size_px: 64, lock: half}\nsearch: {trials: 2}\n"
    assert complain_about(tmp_path, text) == [
        "3:10: search.trials: 2 cannot hold the 3 references, which count against the budget"
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: [\n", "2:1: not YAML: expected the node content, but found '<stream end>'"),
        ("- 1\n", "1:1: a spec is a mapping of keys to values, and this is a list"),
        ("", "1:1: a spec is a mapping of keys to values, and this is empty"),
        (SOUND + "name: y\n", '11:1: duplicate key "name"'),
    ],
    ids=["not YAML", "a list", "nothing", "a key twice"],
)
def test_what_is_no_mapping_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    assert complain_about(tmp_path, text) == [line]


def test_a_value_from_an_anchor_is_shown_where_it_is_used(tmp_path: Path) -> None:
    text = SOUND.replace(DATA, "data:\n  <<: {image_size_px: 8}\n  lock: half").replace(
        SPACE, "  space: {epochs: &few {low: 3, high: 2}, synthesis_count: *few}"
    )
    assert complain_about(tmp_path, text) == [
        "2:1: data.image_size_px: should be at least 32, not 8",
        "12:11: search.space.epochs: low 3 is above high 2",
        "12:43: search.space.synthesis_count: low 3 is above high 2",
    ]
