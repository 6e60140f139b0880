"""Each command's help: examples that can be typed as they stand, whole sentences, names that say what they are."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from anomalyvfm_opt.cli.examples import EXAMPLES, PROGRAM
from anomalyvfm_opt.cli.main import app

_SPECS = Path(__file__).parents[3] / "studies"


def list_commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """All commands that help shows, with the words that lead to them."""
    command = command or get_command(app)
    if not hasattr(command, "commands"):
        yield " ".join(path), command
        return
    for name, child in command.commands.items():
        if not child.hidden:
            yield from list_commands(child, (*path, name))


COMMANDS = dict(list_commands())


def test_there_are_examples_of_all_commands_and_of_no_others() -> None:
    assert EXAMPLES.keys() == COMMANDS.keys()
    assert len(COMMANDS) > 30


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_understood_as_they_stand(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for spec in ("mine", "other"):
        text = (_SPECS / "offline_quick.yaml").read_text()
        Path(f"{spec}.yaml").write_text(re.sub(r"(?m)^name: .*", f"name: {spec}", text))
    shown = re.findall(rf"`{PROGRAM} ([^`]+)`", COMMANDS[name].epilog)
    assert shown == list(EXAMPLES[name])
    for example in shown:
        words = shlex.split(example)
        own = words[len(name.split()) :]
        assert " ".join(words[: len(name.split())]) == name
        context = COMMANDS[name].make_context(name, own)
        assert not context.args


@pytest.mark.parametrize("name", COMMANDS)
def test_metavars_are_words_and_no_text_is_lost_in_markdown(name: str) -> None:
    command = COMMANDS[name]
    texts = [command.help, *(getattr(parameter, "help", None) for parameter in command.params)]
    assert not [text for text in texts if text and re.search(r"<\w", text)]  # taken for HTML
    for parameter in command.params:
        assert parameter.metavar not in ("S", "S...", "SPEC|S"), parameter.name


@pytest.mark.parametrize("name", COMMANDS)
def test_no_name_is_cut_at_80_columns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    shown = CliRunner().invoke(app, [*name.split(), "--help"])
    assert shown.exit_code == 0
    assert "…" not in shown.stdout
    assert all(len(line) <= 80 for line in shown.stdout.splitlines())
    for parameter in COMMANDS[name].params:
        if parameter.envvar:
            assert parameter.envvar in shown.stdout
