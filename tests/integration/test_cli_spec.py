"""`spec check`, `spec schema` and `spec diff`, as they are typed."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.program import Finished, assert_one_error

ROOT = Path(__file__).parents[2]
STUDIES = ROOT / "studies"
BROKEN = """\
name: x
data: {image_size_px: 2000, lock: half, tiles: {size_px: 518}}
search:
  trials: 3
  sampler: tpr
  space:
    rank: [8, 1000]
"""


def run(*arguments: str | Path, folder: Path = ROOT) -> Finished:
    return subprocess.run(
        [sys.executable, "-m", "anomalyvfm_opt", "spec", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def write_broken(folder: Path) -> Path:
    path = folder / "broken.yaml"
    path.write_text(BROKEN)
    return path


def test_check_says_what_each_sound_spec_does() -> None:
    files = sorted(STUDIES.glob("*.yaml"))
    done = run("check", *files)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(files)
    assert f"{STUDIES / 'demo.yaml'}: ok: demo, 8 trials a category with frozen, v1.1, v1.2" in lines


def test_check_shows_mistakes_of_all_kinds_and_of_all_files_at_once(tmp_path: Path) -> None:
    broken = write_broken(tmp_path)
    sound, greedy, torn = (tmp_path / name for name in ("sound.yaml", "greedy.yaml", "torn.yaml"))
    greedy.write_text(BROKEN.replace("2000", "2072"))
    sound.write_text(greedy.read_text().replace("tpr", "tpe").replace("1000", "768"))
    torn.write_text("name: [\n")
    sampler = "5:3: search.sampler: should be 'tpe' or 'random', not 'tpr'; did you mean 'tpe'?"
    done = run("check", broken, sound, greedy, torn)
    assert assert_one_error(done, 2).splitlines() == [
        f"error: {broken}:2:8: data.image_size_px: 2000 is not covered by tiles of 518 px every 518 px;"
        " use 1554 or 2072",
        f"{broken}:{sampler}",
        f"{greedy}:{sampler}",
        f"{greedy}:7:15: search.space.rank.1: rank 1000 is larger than the smallest layer that can be adapted,"
        " blocks.0.attn.qkv of vit_base_patch14_dinov2.lvd142m with 768 channels; use ranks up to 768",
        f"{torn}:2:1: not YAML: expected the node content, but found '<stream end>'",
    ]


def test_schema_is_written_to_a_file_or_to_stdout(tmp_path: Path) -> None:
    done = run("schema", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    text = (tmp_path / "schema" / "study.json").read_text()
    assert text == (ROOT / "schema" / "study.json").read_text()
    assert run("schema", "-").stdout == text
    assert run("schema", tmp_path / "own.json").returncode == 0
    assert (tmp_path / "own.json").read_text() == text


def test_schema_says_when_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    shown = assert_one_error(run("schema", tmp_path / "file" / "study.json"), 2)
    assert str(tmp_path / "file" / "study.json") in shown


def test_diff_shows_the_fields_that_differ() -> None:
    done = run("diff", STUDIES / "demo.yaml", STUDIES / "offline_quick.yaml")
    assert done.returncode == 0, done.stderr
    rows = [re.split(r"  +", line.strip()) for line in done.stdout.splitlines()]
    assert ["data.image_size_px", "96", "192"] in rows
    assert ["search.space.rank", "[4, 8, 16]", "[2, 4, 8, 16]"] in rows
    assert ["search.space.synthesis_count", "30 - 120 (log)", "30 - 300 (log)"] in rows
    assert not any(row[0] in ("data.lock", "description") for row in rows)
    columns = {line.index(" 96 ") for line in done.stdout.splitlines() if " 96 " in line}
    columns |= {line.index(" [4, 8, 16]") for line in done.stdout.splitlines() if "[4, 8, 16] " in line}
    assert len(columns) == 1


def test_diff_as_json() -> None:
    files = [str(STUDIES / "mvtec_ad2_quick.yaml"), str(STUDIES / "mvtec_ad2.yaml")]
    document = json.loads(run("diff", *files, "--json").stdout)
    assert (document["schema"], document["a"], document["b"]) == (1, *files)
    assert {"path": "data.image_size_px", "a": 392, "b": 518} in document["differences"]
    ranges = next(one for one in document["differences"] if one["path"] == "search.space.epochs")
    assert ranges["a"] == {"low": 2, "high": 12, "log": True}


def test_specs_that_differ_in_words_alone_have_no_difference(tmp_path: Path) -> None:
    demo = STUDIES / "demo.yaml"
    other = tmp_path / "other.yaml"
    other.write_text(
        demo.read_text().replace("on demo data", "in other words")
        + "    alpha_ratio: {low: 0.25, high: 4, log: true}\n"
    )
    done = run("diff", demo, other)
    assert (done.returncode, done.stdout) == (0, "no difference\n")
    assert json.loads(run("diff", demo, other, "--json").stdout)["differences"] == []


def test_diff_shows_the_mistakes_of_both(tmp_path: Path) -> None:
    broken = write_broken(tmp_path)
    shown = assert_one_error(run("diff", broken, tmp_path / "none.yaml"), 2)
    assert f"{broken}:5:3: search.sampler" in shown
    assert f"{tmp_path / 'none.yaml'}: no such spec file" in shown


@pytest.mark.parametrize("arguments", [["schema", "-"], ["diff", "studies/demo.yaml", "studies/mvtec_ad.yaml"]])
def test_torch_is_left_alone(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from anomalyvfm_opt.cli.main import app\n"
        f"app(args=['spec', *{arguments!r}], standalone_mode=False)\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout
