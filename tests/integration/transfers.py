"""Two stores, and what one of them holds, read by plain SQL."""

from functools import partial
from pathlib import Path

from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import load_study
from anomalyvfm_opt.store.transfer.file import Content, Header, write_file
from anomalyvfm_opt.store.transfer.move import export_study, import_study
from anomalyvfm_opt.store.transfer.reading import check_file, read_chunks
from tests.integration.conftest import Bench
from tests.integration.databases import execute

NAME = "tiny/tile"
_NOT_OF_A_STUDY = {
    "lease",
    "worker",
    "schema_version",
    "trial_heartbeats",
    "alembic_version",
    "version_info",
}
OF_FAMILIES = ("confirmation", "look", "look_image", "prediction", "trial_resample")  # empty without siblings
_TABLES = """
    SELECT n.nspname || '.' || c.relname AS name, c.relname AS short,
           array_agg(a.attname::text) AS columns
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE c.relkind = 'r' AND n.nspname IN ('public', 'anomalyvfm_opt') GROUP BY 1, 2
"""


def send(bench: Bench, path: Path) -> Header:
    return export_study(bench.engine, bench.record.name, partial(write_file, str(path)))


def read_file(path: Path) -> list[Content]:
    """All chunks of a file."""
    return [chunk for _, chunk in read_chunks(check_file(path))]


def receive(url: str, path: Path) -> bool:
    engine = make_engine(url)
    try:
        return import_study(engine, check_file(path))
    finally:
        engine.dispose()


def open_bench(url: str) -> Bench:
    engine = make_engine(url)
    return Bench(Store(url, engine), load_study(engine, NAME))


def dump(url: str) -> dict[str, list[str]]:
    """All rows of a store with one study, by table, in the order of writing: without ids, trials by number."""
    rows = {}
    for name, short, columns in execute(url, _TABLES):
        if short in _NOT_OF_A_STUDY:
            continue
        keys = [column for column in columns if column.endswith("_id")]
        order = sorted(keys, key=lambda key: key not in ("trial_id", "study_id"))  # then Optuna's own number
        number, join = ("n.number", "JOIN public.trials n USING (trial_id)") if "trial_id" in keys else ("0", "")
        query = (
            f"SELECT {number}, to_jsonb(t) - '{{{','.join(keys)}}}'::text[] FROM {name} t {join}"  # noqa: S608
            f' ORDER BY {"".join(f"t.{key}, " for key in order)} t::text COLLATE "C"'
        )
        rows[name] = [str(row) for row in execute(url, query)]
    return rows
