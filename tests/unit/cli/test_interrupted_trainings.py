"""Workers of a command that were interrupted: it says what goes on with their work, and ends as they did."""

import pytest
import typer

from anomalyvfm_opt.cli.judging.trainings import continued_by


@pytest.mark.parametrize(("code", "is_said"), [(130, True), (143, True), (1, False), (3, False)])
def test_what_was_interrupted_is_said_to_go_on(
    capsys: pytest.CaptureFixture[str], code: int, is_said: bool
) -> None:
    with pytest.raises(typer.Exit) as ended, continued_by("anomalyvfm-opt demo --quick"):
        raise typer.Exit(code)
    assert ended.value.exit_code == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == ("interrupted; `anomalyvfm-opt demo --quick` continues\n" if is_said else "")


def test_what_ends_by_itself_is_not_spoken_of(capsys: pytest.CaptureFixture[str]) -> None:
    with continued_by("anomalyvfm-opt demo"):
        pass
    assert capsys.readouterr().err == ""
