"""`anomalyvfm-opt`: nouns and verbs. Heavy parts are imported when a command runs, not before."""

import sys
from typing import Annotated

import typer

from anomalyvfm_opt import __version__
from anomalyvfm_opt.cli import dashboard, data, db, demo, doctor, spec, study, worker
from anomalyvfm_opt.cli.judging import confirm, predict, verdict
from anomalyvfm_opt.cli.output import escape
from anomalyvfm_opt.errors import EXIT_BUG, EXIT_INTERRUPTED, AnomalyVFMOptError

app = typer.Typer(
    name="anomalyvfm-opt",
    help="Search LoRA fine-tuning for visual anomaly detection, category by category.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.add_typer(db.app, name="db")
app.add_typer(data.app, name="data")
app.add_typer(spec.app, name="spec")
app.add_typer(study.app, name="study")
app.add_typer(worker.app, name="worker")
app.command("dashboard")(dashboard.dashboard)
app.command("confirm")(confirm.confirm)
app.command("verdict")(verdict.verdict)
app.command("predict-gain")(predict.predict_gain)
app.command("predictions")(predict.predictions)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"anomalyvfm-opt {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere.")] = False,
) -> None:
    """Global options; `--debug` is taken out of the arguments by `run` before they come here."""


def run() -> None:
    """Entry point: every error becomes one clear message and an exit code, with a traceback only on --debug."""
    is_debug = "--debug" in sys.argv[1:]
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(args=arguments, prog_name="anomalyvfm-opt")
    except AnomalyVFMOptError as error:
        _show_traceback(is_debug)
        _complain(error.message, error.hint)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away, as `| head` does
        sys.exit(0)
    except Exception as error:
        _show_traceback(is_debug)
        if (fault := _explain_database_fault(error)) is not None:
            _complain(fault.message, fault.hint)
            sys.exit(fault.exit_code)
        _complain(f"bug: {type(error).__name__}: {error}", "repeat with --debug and report what it prints")
        sys.exit(EXIT_BUG)


def _explain_database_fault(error: Exception) -> AnomalyVFMOptError | None:
    """Return what to say if the database is away, full or closed to us; None if the error is something else."""
    if "sqlalchemy" not in sys.modules:
        return None
    from anomalyvfm_opt.store.engine import explain_database_error, is_database_fault

    return explain_database_error(error) if is_database_fault(error) else None


def _show_traceback(is_wanted: bool) -> None:
    if is_wanted:
        import traceback

        traceback.print_exc()


def _complain(message: str, hint: str) -> None:
    """Say what was wrong and what to do; a message may have several lines."""
    for label, text, colour in (("error", message, "red"), ("hint", hint, None)):
        if text:
            lines = [escape(line, sys.stderr.encoding) for line in f"{label}: {text}".split("\n")]
            typer.secho("\n".join(lines), fg=colour, err=True)
