"""What people get wrong: one clear error, the right exit code, and nothing half-made."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from tests.integration.program import (
    CATEGORY,
    FinishedStudy,
    Program,
    assert_one_error,
    write_spec,
)

CREATE = ("study", "create", "{spec}", "--data")


@dataclass(frozen=True)
class Mistake:
    """A command with a mistake in it; `{spec}`, `{data}` and `{folder}` stand for paths."""

    arguments: tuple[str, ...]
    exit_code: int
    words: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


MISTAKES = {
    "unknown category": Mistake(
        (*CREATE, "{data}", "--category", "brik"), 2, ("did you mean 'brick'?", "brick, grass, gravel")
    ),
    "no data": Mistake(CREATE[:-1], 2, ("--data DIR", "ANOMALYVFM_OPT_DATA")),
    "no such folder": Mistake((*CREATE, "{folder}/nowhere"), 3, ("{folder}/nowhere", "No such file")),
    "empty folder": Mistake((*CREATE, "{folder}/empty"), 2, ("{folder}/empty", "train/good")),
    "mistaken spec": Mistake(
        ("study", "create", "{folder}/mistaken.yaml", "--data", "{data}"),
        2,
        ("{folder}/mistaken.yaml:4:3: data.image_size: unknown key; did you mean 'image_size_px'?",),
    ),
    "no such spec": Mistake(
        ("study", "create", "{folder}/none.yaml", "--data", "{data}"),
        2,
        ("{folder}/none.yaml", "shipped specs are in"),
    ),
    "unreachable database": Mistake(
        ("study", "list", "--db", "postgresql://u@127.0.0.1:1/x"), 3, ("nothing answers at 127.0.0.1, port 1",)
    ),
    "sqlite": Mistake(("study", "list", "--db", "sqlite:///x.db"), 2, ("--db", "PostgreSQL")),
    "sqlite in the environment": Mistake(
        ("study", "list"), 2, ("ANOMALYVFM_OPT_DB_URL",), {"ANOMALYVFM_OPT_DB_URL": "sqlite:///x.db"}
    ),
    "state folder is a file": Mistake(
        ("study", "list"), 3, ("{folder}/file", "ANOMALYVFM_OPT_HOME"), {"ANOMALYVFM_OPT_HOME": "{folder}/file"}
    ),
    "unknown study to show": Mistake(("study", "show", "tiny/grass"), 2, ("no study 'tiny/grass'", "tiny/brick")),
    "unknown study to work on": Mistake(("worker", "run", "--study", "nothing"), 2, ("no study 'nothing'",)),
    "unknown study to delete": Mistake(("study", "delete", "nothing", "--yes"), 2, ("no study 'nothing'",)),
    "bad device": Mistake(
        ("worker", "run", "--study", "tiny", "--device", "gpu"), 2, ("--device 'gpu'", "cuda:N")
    ),
    "data check of nothing": Mistake(("data", "check", "{folder}/nowhere"), 3, ("{folder}/nowhere",)),
    "data split of nothing": Mistake(("data", "split", "{data}", "brik"), 2, ("did you mean 'brick'?",)),
    "data demo into a full folder": Mistake(("data", "demo", "{folder}"), 2, ("{folder}", "new folder")),
}
if not torch.cuda.is_available():
    MISTAKES["no GPU"] = Mistake(
        ("worker", "run", "--study", "tiny", "--device", "cuda"), 3, ("sees 0 GPUs", "--device cpu")
    )


@pytest.fixture(scope="module")
def places(
    program: Program, finished_study: FinishedStudy, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "empty").mkdir()
    (folder / "file").touch()
    (folder / "mistaken.yaml").write_text("name: x\ndata:\n  lock: half\n  image_size: 64\nsearch: {trials: 4}\n")
    return {
        "spec": str(write_spec(folder, "sound")),
        "data": str(program.data),
        "folder": str(folder),
    }


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_clear_error(program: Program, places: dict[str, str], name: str) -> None:
    mistake = MISTAKES[name]
    environment = {name: value.format(**places) for name, value in mistake.environment.items()}
    done = program.run_here(*(word.format(**places) for word in mistake.arguments), **environment)
    shown = assert_one_error(done, mistake.exit_code)
    for words in mistake.words:
        assert words.format(**places) in shown


@pytest.mark.parametrize("arguments", [("stuff",), ("study", "stuff"), ("study", "list", "--stuff")])
def test_an_unknown_command_or_option_is_bad_usage(program: Program, arguments: tuple[str, ...]) -> None:
    done = program.run_here(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "stuff" in done.stderr


def test_debug_shows_the_traceback(program: Program) -> None:
    done = program.run("study", "list", "--debug", "--db", "sqlite:///x.db")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "error: --db" in done.stderr


def test_a_truncated_image_is_named_and_no_study_is_made(program: Program, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(program.data / CATEGORY, data / CATEGORY)
    image = data / CATEGORY / "train/good/007_regular.png"
    image.write_bytes(image.read_bytes()[:900])
    done = program.create(write_spec(tmp_path, "truncated"), data)
    assert str(image) in assert_one_error(done, 2)
    assert f"truncated/{CATEGORY}" not in program.list_names()


def test_a_worker_refuses_images_that_changed_and_costs_no_trial(program: Program, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(program.data / CATEGORY, data / CATEGORY)
    program.create_here("changed", data)
    used = program.usage(f"changed/{CATEGORY}").used
    (data / CATEGORY / "train/good/007_regular.png").write_bytes(
        (data / CATEGORY / "train/good/008_regular.png").read_bytes()
    )
    done = program.run_here("worker", "run", "--study", "changed", "--threads", "1")
    assert "brick/train/good/007_regular" in assert_one_error(done, 2)
    usage = program.usage(f"changed/{CATEGORY}")
    assert (usage.used, usage.running, usage.held) == (used, 0, 0)
    assert usage.waiting > 0
