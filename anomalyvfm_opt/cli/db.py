"""`db`: the embedded database, and the address of whichever is in use."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anomalyvfm_opt.cli.groups import make_group
from anomalyvfm_opt.cli.options import DatabaseOption, JsonOption
from anomalyvfm_opt.cli.output import print_json, say
from anomalyvfm_opt.cli.tables import print_table

if TYPE_CHECKING:
    from anomalyvfm_opt.store.embedded.server import EmbeddedCluster

_MAY = {
    "owner": "has the tables: creates, confirms and deletes studies, upgrades",
    "worker": "runs trials; neither creates nor deletes a study, nor changes a table",
    "viewer": "reads: dashboard, study show, verdict",
}
OwnerOption = Annotated[
    str | None, typer.Option("--owner", metavar="NAME", help="Role that owns the tables; else the one that does.")
]
WorkerOption = Annotated[
    str | None, typer.Option("--worker", metavar="NAME", help="Role for workers; else anomalyvfm_opt_worker.")
]
ViewerOption = Annotated[
    str | None, typer.Option("--viewer", metavar="NAME", help="Role for readers; else anomalyvfm_opt_viewer.")
]
PassfilesOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--passfile",
        metavar="FILE",
        help="Give worker or viewer the password that this password file has for it; may be repeated.",
    ),
]
app = make_group("The study store: start, stop, look, upgrade.")


@app.command()
def up(
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            metavar="ADDRESS",
            help="Let other hosts connect to this address of this host as well (0.0.0.0: to all of them); it is"
            " kept. 127.0.0.1 goes back to this host alone.",
        ),
    ] = None,
) -> None:
    """Start the embedded PostgreSQL; other commands do so by themselves."""
    from anomalyvfm_opt.store.embedded.listen import describe_reach
    from anomalyvfm_opt.store.embedded.server import EmbeddedCluster
    from anomalyvfm_opt.store.home import state_folder

    cluster = EmbeddedCluster(state_folder())
    status = cluster.up(listen)
    say(f"PostgreSQL {status.version} runs on 127.0.0.1:{status.port}, data in {status.data_dir}")
    if cluster.urls_for_others():
        say(f"WARNING: it also listens on {status.listen}: {describe_reach(status.listen)} can connect.")
        say("It asks for a password, but encrypts nothing: use it in a network that you trust.")
        _invite(cluster)


def _invite(cluster: "EmbeddedCluster") -> None:
    from anomalyvfm_opt.errors import AnomalyVFMOptError
    from anomalyvfm_opt.store.embedded.cluster import USER
    from anomalyvfm_opt.store.invitation import invite_workers

    try:
        invitation = invite_workers(cluster)
    except AnomalyVFMOptError as error:  # the server runs all the same, so that this can be mended
        say(f"No worker of another host gets in yet: {error.message}. {error.hint}; then `db up` again.")
        return
    if invitation.is_old_password:
        say(f"{invitation.role} has a password that was given by hand: put it into {invitation.passfile}.")
    say(f"On the hosts of workers: copy {invitation.passfile} there, with mode 0600, then")
    say("  export PGPASSFILE=THE_COPY")
    say(f"  export ANOMALYVFM_OPT_DB_URL={invitation.urls[0]}")
    say(f"That role runs trials and no more. For a host that does everything: {cluster.passfile}, user {USER}.")


@app.command()
def down() -> None:
    """Stop the embedded PostgreSQL. Its data stay."""
    from anomalyvfm_opt.store.embedded.server import EmbeddedCluster
    from anomalyvfm_opt.store.home import state_folder

    was_running = EmbeddedCluster(state_folder()).down()
    say("stopped" if was_running else "it was not running")


@app.command()
def status(as_json: JsonOption = False) -> None:
    """Show whether the embedded PostgreSQL runs, and where."""
    from dataclasses import asdict

    from anomalyvfm_opt.store.embedded.server import EmbeddedCluster
    from anomalyvfm_opt.store.home import state_folder

    values = asdict(EmbeddedCluster(state_folder()).status())
    if as_json:
        print_json({"schema": 1, **values})
    else:
        rows = [(k, "-" if v is None else str(v)) for k, v in values.items()]
        print_table("", ("embedded PostgreSQL", ""), rows)


@app.command()
def url(db: DatabaseOption = None) -> None:
    """Print the store's URL, without a password in it, for Optuna's own tools."""
    from anomalyvfm_opt.store.store import open_store
    from anomalyvfm_opt.store.url import shown

    typer.echo(shown(open_store(db).url))


@app.command()
def upgrade(db: DatabaseOption = None) -> None:
    """Bring the tables, Optuna's and ours, to this program's version; repeating it changes nothing.

    Do it while no worker runs. It may be interrupted and repeated: nothing is left half-done.
    """
    from anomalyvfm_opt.store.engine import check_connection, make_engine
    from anomalyvfm_opt.store.schema import upgrade_database
    from anomalyvfm_opt.store.store import resolve_url

    engine = make_engine(resolve_url(db))
    check_connection(engine)
    before, after = upgrade_database(engine)
    say(f"schema version {before.ours or '(none)'} -> {after.ours}")
    say(f"Optuna's tables {before.optuna or '(none)'} -> {after.optuna}")
    if before == after:
        say("nothing to do")


@app.command()
def roles(
    owner: OwnerOption = None,
    worker: WorkerOption = None,
    viewer: ViewerOption = None,
    passfiles: PassfilesOption = None,
    db: DatabaseOption = None,
) -> None:
    """Make three roles with just the rights they need: owner, worker, viewer; it is idempotent.

    Run it as the administrator, or as the owner of the tables if the roles are there. It sets no password but
    those of --passfile.
    """
    from anomalyvfm_opt.store.engine import check_connection, make_engine
    from anomalyvfm_opt.store.role_setup import set_up_roles
    from anomalyvfm_opt.store.store import resolve_url
    from anomalyvfm_opt.store.url import shown

    url = resolve_url(db)
    engine = make_engine(url)
    check_connection(engine)
    wished = {"owner": owner, "worker": worker, "viewer": viewer}
    done = set_up_roles(engine, {kind: name for kind, name in wished.items() if name}, passfiles or ())
    for kind, may in _MAY.items():
        say(f"{getattr(done.roles, kind)}: {may}")
    if done.powers:
        named = ", ".join(f"{power.role} can {power.may}" for power in done.powers)
        say(f"Still open, since a superuser alone takes it away: {named}.")
    if not done.without_password:
        return
    plain = shown(url).replace("+psycopg2", "", 1)
    say(f"A role without a password cannot log in. To give it one: psql '{plain}', and there:")
    for name in done.without_password:
        say(f"  \\password {name}")
