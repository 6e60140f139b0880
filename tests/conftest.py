"""A real PostgreSQL for the tests that need one."""

import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

# Set before torch and NumPy are loaded: test processes side by side would fight for the cores, and so would the
# programs that they start. One number of threads also gives the same bits wherever a test runs.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from anomalyvfm_opt.data.demo import write_demo
from anomalyvfm_opt.store.embedded.server import EmbeddedCluster
from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.schema import prepare_database
from tests.integration.external_server import ExternalServer, run_external_server
from tests.integration.place import Place
from tests.integration.program import CATEGORY, FinishedStudy, Program, finish, write_spec

# A shell that starts pytest with & has it ignore SIGINT, and the programs under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may pass through, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="anomalyvfm-opt-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def cluster(open_folder: Path) -> Iterator[EmbeddedCluster]:
    """A cluster that is not there yet, for the tests that break it."""
    cluster = EmbeddedCluster(open_folder / "home")
    yield cluster
    cluster.down()


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[EmbeddedCluster]:
    """A server of this test run's own, for the tests that leave it running; stopped at the end."""
    folder = Path(tempfile.mkdtemp(prefix="anomalyvfm-opt-test-"))
    folder.chmod(0o711)  # for root the server runs as another user, who has to pass through
    cluster = EmbeddedCluster(folder / "home")
    try:
        cluster.up()
        _spare_the_disk(cluster.url())
        yield cluster
    finally:
        cluster.down()
        shutil.rmtree(folder)


def _spare_the_disk(url: str) -> None:
    """Have the server not wait for the disk: only a crash of the whole host could lose what it wrote."""
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("ALTER SYSTEM SET fsync = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    admin.dispose()


@pytest.fixture(scope="session")
def postgres_url(running_cluster: EmbeddedCluster) -> str:
    """The URL of that server's own database."""
    return running_cluster.url()


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """A fresh, empty database."""
    with fresh_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="session")
def template(postgres_url: str) -> Iterator[str]:
    """The name of a database with the tables of an empty store: a copy of it is made sooner than the tables."""
    with fresh_database(postgres_url) as url:
        engine = make_engine(url)
        prepare_database(engine)
        engine.dispose()
        yield engine.url.database or ""


@pytest.fixture
def store_url(postgres_url: str, template: str) -> Iterator[str]:
    """A fresh database with the tables of an empty store."""
    with fresh_database(postgres_url, template) as url:
        yield url


@pytest.fixture(scope="module")
def module_store_url(postgres_url: str, template: str) -> Iterator[str]:
    """The same for all tests of a module, which keep to studies of their own."""
    with fresh_database(postgres_url, template) as url:
        yield url


@contextmanager
def fresh_database(postgres_url: str, template: str = "template1") -> Iterator[str]:
    """A database on that server for the length of a `with`, a copy of another one."""
    name = f"test_{uuid.uuid4().hex}"
    with _administer(postgres_url).connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    try:
        yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    finally:
        with _administer(postgres_url).connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@cache
def _administer(postgres_url: str) -> Engine:
    """An engine on a server, kept for all tests; a connection that the server dropped meanwhile is replaced."""
    return create_engine(postgres_url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)


@pytest.fixture(scope="session")
def external_server() -> Iterator[ExternalServer]:
    """Somebody else's PostgreSQL, made for this test run; a test that stops it starts it again."""
    with run_external_server() as server:
        yield server


@pytest.fixture(scope="module")
def empty_store(program: Program, external_server: ExternalServer) -> ExternalServer:
    """That server with the tables of an empty store in its database."""
    external_server.empty()
    made = program.run_here("study", "list", **external_server.environment)
    assert made.returncode == 0, made.stderr
    return external_server


@pytest.fixture
def place(program: Program, empty_store: ExternalServer, tmp_path: Path) -> Place:
    """Data, a folder and a store to spoil."""
    shutil.copytree(program.data / CATEGORY, tmp_path / "data" / CATEGORY)
    return Place(tmp_path, empty_store)


@pytest.fixture(scope="session")
def program(running_cluster: EmbeddedCluster) -> Program:
    """The program on that server, with a small data folder."""
    data = running_cluster.home.parent / "data"
    write_demo(data, image_size_px=64)
    return Program(running_cluster, data)


@pytest.fixture(scope="session")
def finished_study(program: Program, tmp_path_factory: pytest.TempPathFactory) -> FinishedStudy:
    """A study of four trials that two workers side by side have finished."""
    spec_file = write_spec(tmp_path_factory.mktemp("spec"), "tiny")
    created = program.create(spec_file)
    processes = [program.start("worker", "run", "--study", "tiny", "--threads", "1") for _ in range(2)]
    return FinishedStudy(f"tiny/{CATEGORY}", spec_file, created, tuple(finish(process) for process in processes))
