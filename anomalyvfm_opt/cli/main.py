"""`anomalyvfm-opt`: nouns and verbs. Heavy parts are imported when a command runs, not before."""

import errno
import logging
import os
import re
import sys
from itertools import filterfalse
from typing import Annotated

import typer

from anomalyvfm_opt import __version__
from anomalyvfm_opt.cli import (
    dashboard,
    data,
    db,
    demo,
    doctor,
    glossary,
    model,
    predicting,
    spec,
    study,
    submission,
    trial,
    worker,
)
from anomalyvfm_opt.cli.examples import add_examples
from anomalyvfm_opt.cli.groups import make_group
from anomalyvfm_opt.cli.judging import confirm, forecast, verdict
from anomalyvfm_opt.cli.output import LogFormatter, escape_lines, read_width
from anomalyvfm_opt.collector import collected_seldom
from anomalyvfm_opt.errors import (
    EXIT_BUG,
    EXIT_INTERRUPTED,
    AnomalyVFMOptError,
    EnvironmentMissingError,
    UsageError,
)
from anomalyvfm_opt.files import is_current_folder_gone, is_utf8
from anomalyvfm_opt.streams import ReaderGoneError, prepare_streams

app = make_group(
    "Search LoRA fine-tuning for visual anomaly detection, category by category.",
    name="anomalyvfm-opt",
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
_START, _SEARCH, _JUDGE, _USE = "Start", "Search", "Judge", "Use the result"
app.command("demo", rich_help_panel=_START)(demo.demo)
app.command("doctor", rich_help_panel=_START)(doctor.doctor)
app.command("glossary", rich_help_panel=_START)(glossary.glossary)
app.add_typer(data.app, name="data", rich_help_panel=_START)
app.add_typer(spec.app, name="spec", rich_help_panel=_START)
app.add_typer(db.app, name="db", rich_help_panel=_START)
app.add_typer(study.app, name="study", rich_help_panel=_SEARCH)
app.add_typer(trial.app, name="trial", rich_help_panel=_SEARCH)
app.add_typer(worker.app, name="worker", rich_help_panel=_SEARCH)
app.command("dashboard", rich_help_panel=_SEARCH)(dashboard.dashboard)
app.add_typer(forecast.app, name="forecast", rich_help_panel=_JUDGE)
app.command("confirm", rich_help_panel=_JUDGE)(confirm.confirm)
app.command("verdict", rich_help_panel=_JUDGE)(verdict.verdict)
app.add_typer(model.app, name="model", rich_help_panel=_USE)
app.command("predict", rich_help_panel=_USE)(predicting.predict)
app.command("submit", rich_help_panel=_USE)(submission.submit)
app.add_typer(submission.app, name="submission", rich_help_panel=_USE)
add_examples(app)
# names of an earlier version
app.command("predict-gain", hidden=True, context_settings={"ignore_unknown_options": True})(forecast.add)
app.command("predictions", hidden=True)(forecast.list_all)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"anomalyvfm-opt {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere.")] = False,
) -> None:
    """Global options; `--debug` is taken out of the arguments by `run` before they come here."""


def run() -> None:
    """Entry point: every error becomes one clear message and an exit code, with a traceback only on --debug."""
    prepare_streams()
    with collected_seldom():
        _run()


def _run() -> None:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its idle threads spin: a quarter of a short command's CPU
    if logging.lastResort is not None:  # what shows warnings
        logging.lastResort.setFormatter(LogFormatter())
    is_debug = "--debug" in sys.argv[1:]
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        _refuse_undecodable(arguments)
        _refuse_deleted_folder()
        _call(arguments)
    except ReaderGoneError as error:
        sys.exit(error.exit_code)
    except AnomalyVFMOptError as error:
        _show_traceback(is_debug)
        _complain(error.message, error.hint)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:
        _show_traceback(is_debug)
        if (fault := _explain_memory(error) or _explain_store(error)) is not None:
            _complain(fault.message, fault.hint)
            sys.exit(fault.exit_code)
        _complain(f"bug: {type(error).__name__}: {error}", "repeat with --debug and report what it prints")
        sys.exit(EXIT_BUG)


def _call(arguments: list[str]) -> None:
    """Run the command that the arguments name; to write what it left on stdout is part of it."""
    try:
        app(args=arguments, prog_name="anomalyvfm-opt")
    except SystemExit:  # however it ends without an error
        sys.stdout.flush()
        raise


def _refuse_undecodable(arguments: list[str]) -> None:
    """Refuse bytes that are not UTF-8, which Python holds as lone surrogates: no database and no terminal can.

    Raises:
        UsageError: of an argument or of a variable of ours.
    """
    variables = {name: value for name, value in os.environ.items() if name.startswith("ANOMALYVFM_OPT_")}
    for value in filterfalse(is_utf8, arguments):
        raise UsageError(f"the argument {value!a} is not UTF-8", "rename what it names, or give its parent folder")
    for name in filterfalse(lambda name: is_utf8(variables[name]), variables):
        raise UsageError(f"{name} is not UTF-8", "set it anew")


def _refuse_deleted_folder() -> None:
    """Refuse a current folder that has gone: no relative path leads anywhere, and torch's libraries end us.

    Raises:
        UsageError: it has.
    """
    if is_current_folder_gone():
        raise UsageError("the current folder was deleted", "cd to one that is there")


def _explain_memory(error: BaseException) -> AnomalyVFMOptError | None:
    """Return what to say if this process may not take the memory that it needs; None if it is something else."""
    library = (
        re.search(r"\S+: failed to map segment.*", str(error))
        if isinstance(error, ImportError | OSError)
        else None
    )
    if not (library or isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM):
        return None
    what = f"a library cannot be loaded ({library[0]})" if library else "no memory is left"
    return EnvironmentMissingError(
        f"this process may not take the memory that it needs: {what}",
        "allow it more: ulimit -v unlimited, or the limit of the container or of the job",
    )


def _explain_store(error: Exception) -> AnomalyVFMOptError | None:
    """Return what to say if the database is away, full or closed to us, or if a study was deleted meanwhile.

    None if the error is something else.
    """
    if "sqlalchemy" not in sys.modules:
        return None
    try:
        from anomalyvfm_opt.store.deletions import is_deletion
        from anomalyvfm_opt.store.engine import explain_database_error, is_database_fault
    except (ImportError, MemoryError) as further:
        return _explain_memory(further)

    if is_deletion(error):
        return UsageError("a study was deleted while this command worked on it", "see: anomalyvfm-opt study list")
    return explain_database_error(error) if is_database_fault(error) else None


def _show_traceback(is_wanted: bool) -> None:
    if is_wanted:
        import traceback

        traceback.print_exc()


def _complain(message: str, hint: str) -> None:
    """Say what was wrong and what to do; a message may have several lines."""
    for label, text, colour in (("error", message, "red"), ("hint", hint, None)):
        if text:
            shown = escape_lines(f"{label}: {text}", sys.stderr.encoding, read_width(sys.stderr))
            typer.secho(shown, fg=colour, err=True)
