"""A command that is not there is answered with the one that was meant, by its own name or by another program's."""

import pytest
from typer.main import get_command

from anomalyvfm_opt.cli.groups import _SYNONYMS
from anomalyvfm_opt.cli.main import app
from anomalyvfm_opt.errors import UsageError

PROGRAM = "anomalyvfm-opt"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["db", "stop"], f"{PROGRAM} db has no command 'stop'; did you mean 'down'?"),
        (["worker", "stop", "mine"], f"{PROGRAM} worker has no command 'stop'; did you mean 'drain'?"),
        (["study", "lst"], f"{PROGRAM} study has no command 'lst'; did you mean 'list'?"),
        (["study", "RM", "mine"], f"{PROGRAM} study has no command 'RM'; did you mean 'delete'?"),
        (["create", "x.yaml"], f"{PROGRAM} has no command 'create'; did you mean 'study create'?"),
        (["launch"], f"{PROGRAM} has no command 'launch'; did you mean 'worker launch'?"),
        (["migrate"], f"{PROGRAM} has no command 'migrate'; did you mean 'db upgrade'?"),
        (["spec", "xyzzy"], f"{PROGRAM} spec has no command 'xyzzy'"),
    ],
)
def test_the_command_that_was_meant_is_named(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        get_command(app).main(words, prog_name=PROGRAM)
    assert error.value.message == message
    assert error.value.hint.startswith("it has: ")
    assert "predict-gain" not in error.value.hint  # a name of an earlier version


def test_what_other_programs_say_leads_to_commands_that_are_there() -> None:
    root = get_command(app)
    names = {name for group in root.commands.values() for name in getattr(group, "commands", {})}  # type: ignore[attr-defined]
    for word, meant in _SYNONYMS.items():
        assert names.issuperset(meant), word
