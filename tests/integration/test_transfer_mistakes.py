"""Files that are damaged, of another version or in the way: one clear error, and the store as before."""

import contextlib
import gzip
import json
import os
import shlex
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.schema import prepare_database
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import create_study, load_study
from anomalyvfm_opt.store.transfer.file import Header, StudyFile, to_lines, write_file
from anomalyvfm_opt.store.transfer.reading import check_file
from tests.integration.conftest import REFERENCES, Bench, make_new_study, make_spec
from tests.integration.databases import OURS_0001, execute, load
from tests.integration.program import Finished, assert_one_error, run_in_process
from tests.integration.transfers import NAME, dump, read_file, receive, send


@dataclass(frozen=True)
class Mistake:
    """A call of `study`; `{name}` stands for a file of that name in the folder, `{db}` for the store."""

    arguments: str
    exit_code: int
    words: tuple[str, ...]


MISTAKES = {
    "no such file": Mistake("import {none}", 2, ("{none}: no such file",)),
    "a folder": Mistake("import {folder}", 2, ("{folder} is a folder",)),
    "not regular": Mistake("import /dev/zero", 2, ("/dev/zero: it is a device",)),
    "empty": Mistake("import {empty}", 2, ("{empty} is not an exported study", "study export S")),
    "no JSON": Mistake("import {picture}", 2, ("{picture} is not an exported study",)),
    "other JSON": Mistake("import {other}", 2, ("{other} is not an exported study",)),
    "truncated gzip": Mistake(
        "import {truncated.gz}", 2, ("{truncated.gz} is damaged: it ends too early", "again")
    ),
    "truncated": Mistake("import {truncated}", 2, ("{truncated} is damaged: it ends too early",)),
    "a tampered byte": Mistake("import {tampered}", 2, ("{tampered} is damaged", "does not have the hash")),
    "newer format": Mistake(
        "import {format2}", 2, ("{format2} is of format 2", "use anomalyvfm-opt 9.9 or newer")
    ),
    "newer tables": Mistake("import {newer}", 2, ("newer than this program", "use anomalyvfm-opt 9.9 or newer")),
    "newer Optuna": Mistake("import {optuna9}", 2, ("newer than this program",)),
    "older Optuna": Mistake("import {optuna2}", 2, ("v2.6.0.a", "db upgrade", "export the study again")),
    "another spec": Mistake(
        "import {spec}", 2, ("which this one cannot read", "surprise", "use anomalyvfm-opt 9.9")
    ),
    "another content": Mistake("import {changed}", 2, (f"study '{NAME}' is in this store", "--db", "delete")),
    "unknown study": Mistake("export nothing", 2, ("no study 'nothing'", NAME)),
    "a spec of two studies": Mistake("export tiny", 2, ("'tiny' means 2 studies", f"name one: {NAME}, tiny/wood")),
    "file in the way": Mistake(f"export {NAME} -o {{whole}}", 2, ("{whole} is there already", "--force")),
    "folder in the way": Mistake(f"export {NAME} -o {{folder}} --force", 2, ("{folder} is a folder",)),
    "a device": Mistake(f"export {NAME} -o /dev/null --force", 2, ("not a regular file", "-o -")),
    "no such folder": Mistake(f"export {NAME} -o {{none}}/x", 3, ("cannot write {none}/x", "No such file")),
    "unwritable folder": Mistake(f"export {NAME} -o /proc/x.gz", 3, ("cannot write /proc/x.gz",)),
    "disk full": Mistake(f"export {NAME} -o {{full}}", 3, ("cannot write {full}: File too large", "free space")),
    "disk of stdout full": Mistake(f"export {NAME} -o - > {{full too}}", 3, ("stdout: File too large",)),
}


def rewrite(whole: StudyFile, target: Path, **header: Any) -> Path:
    """The same content under another header, with a hash that fits."""
    write_file(str(target), to_lines(replace(whole.header, **header), read_file(whole.path)))
    return target


def write_files(whole: Path) -> None:
    """All the bad files, made from a good one."""
    good, folder = check_file(whole), whole.parent
    content = whole.read_bytes()
    (folder / "folder").mkdir()
    (folder / "empty").touch()
    (folder / "picture").write_bytes(bytes(range(256)) * 1000)
    (folder / "other").write_text('{"schema": 1, "studies": []}\n')
    (folder / "truncated.gz").write_bytes(gzip.compress(content)[:-200])
    (folder / "truncated").write_bytes(content[: content.rindex(b"\n", 0, -1) + 1])
    (folder / "tampered").write_bytes(content.replace(b'"score":0.0', b'"score":0.5', 1))
    (folder / "format2").write_text('{"kind": "anomalyvfm-opt study", "schema": 2, "program": "9.9"}\n')
    rewrite(good, folder / "newer", our_tables="9999", program="9.9")
    rewrite(good, folder / "optuna9", optuna_tables="v9.0.0.a", program="9.9")
    rewrite(good, folder / "optuna2", optuna_tables="v2.6.0.a")
    chunks = list(read_file(whole))
    changed = json.loads(json.dumps(chunks))
    changed[-1]["rows"][0]["budget"] += 1
    write_file(str(folder / "changed"), to_lines(good.header, changed))
    last = json.loads(json.dumps(chunks[-1]))
    last["rows"][0]["spec"]["surprise"] = 1
    header = Header(**{**vars(good.header), "program": "9.9"})
    write_file(str(folder / "spec"), to_lines(header, [*chunks[:-1], last]))


@dataclass(frozen=True)
class Place:
    """A store with two studies, one of them with a trial, and a folder with files made from that."""

    url: str
    folder: Path


@pytest.fixture(scope="module")
def place(module_store_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("transfers")
    engine = make_engine(module_store_url)
    store = Store(module_store_url, engine)
    new = make_new_study(make_spec())
    for category in ("tile", "wood"):
        create_study(store, replace(new, category=category), REFERENCES)
    bench = Bench(store, load_study(engine, NAME))
    bench.loop().take_turn()
    send(bench, folder / "whole")
    write_files(folder / "whole")
    yield Place(module_store_url, folder)
    engine.dispose()


def call(arguments: str, url: str, folder: Path) -> Finished:
    """Run a command in a folder; where it is `full`, under a shell that lets no file grow beyond a kB."""
    files = {name: shlex.quote(str(folder / name)) for name in _list_names(arguments)}
    filled = f"study {_fill(arguments, files)}"
    if "{full" not in arguments:
        with contextlib.chdir(folder):
            return run_in_process(shlex.split(filled), {**os.environ, "ANOMALYVFM_OPT_DB_URL": url})
    # the file of a coverage run would not fit either
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return subprocess.run(
        ["bash", "-c", f"ulimit -f 1; {shlex.quote(sys.executable)} -m anomalyvfm_opt {filled}"],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**kept, "ANOMALYVFM_OPT_DB_URL": url},
    )


def _list_names(arguments: str) -> list[str]:
    return [part.split("}")[0] for part in arguments.split("{")[1:]]


def _fill(template: str, files: dict[str, str]) -> str:
    for name, path in files.items():
        template = template.replace(f"{{{name}}}", path)
    return template


@pytest.fixture(scope="module")
def outcomes(place: Place) -> dict[str, Finished]:
    """What is said to all mistakes."""
    return {name: call(made.arguments, place.url, place.folder) for name, made in MISTAKES.items()}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_clear_error(outcomes: dict[str, Finished], place: Place, name: str) -> None:
    mistake = MISTAKES[name]
    shown = assert_one_error(outcomes[name], mistake.exit_code)
    for words in mistake.words:
        assert _fill(words, {word: str(place.folder / word) for word in _list_names(words)}) in shown


def test_store_and_folder_are_as_before_all_mistakes(
    place: Place, outcomes: dict[str, Finished], tmp_path: Path
) -> None:
    assert outcomes.keys() == MISTAKES.keys()
    assert execute(place.url, "SELECT study_name FROM studies ORDER BY 1") == [(NAME,), ("tiny/wood",)]
    assert "unchanged" in call(f"import {shlex.quote(str(place.folder / 'whole'))}", place.url, tmp_path).stderr
    assert not [path for path in place.folder.iterdir() if path.name.endswith((".part", ".gz.json", "full", "x"))]


def test_a_store_of_older_tables_is_refused_by_both(place: Place, database_url: str) -> None:
    load(OURS_0001, database_url)
    for arguments in (f"export {NAME} -o {{never}}", "import {whole}"):
        assert "db upgrade" in assert_one_error(call(arguments, database_url, place.folder), 3)
    assert not (place.folder / "never").exists()


def test_a_file_is_replaced_by_force_only(place: Place, tmp_path: Path) -> None:
    target = tmp_path / "tiny-tile.study.json.gz"
    target.write_text("precious")
    assert "--force" in assert_one_error(call(f"export {NAME}", place.url, tmp_path), 2)
    assert target.read_text() == "precious"
    done = call(f"export {NAME} --force", place.url, tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert list(tmp_path.iterdir()) == [target]
    assert check_file(target).header.study == NAME


def is_padding(changed: bytes, content: bytes) -> bool:
    """Whether the change is in the bits that gzip fills its last byte with: they say nothing."""
    try:
        return gzip.decompress(changed) == gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return False


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_no_byte_may_change_or_be_missing(place: Place, tmp_path: Path, suffix: str) -> None:
    whole = check_file(place.folder / "whole")
    path = rewrite(whole, tmp_path / f"s{suffix}")
    content, broken = path.read_bytes(), tmp_path / f"broken{suffix}"
    for at in (*range(10, 40), *range(40, len(content), 41), *range(len(content) - 80, len(content))):
        for bad in (content[:at], content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]):
            broken.write_bytes(bad)
            if is_padding(bad, content):
                continue
            with pytest.raises(UsageError, match=r"is damaged|not an exported study|newer"):
                check_file(broken)
    broken.write_bytes(content + content)
    with pytest.raises(UsageError, match="something follows its end"):
        check_file(broken)
    assert check_file(path) == replace(whole, path=path)


def test_a_file_from_before_a_column_was_there_leaves_it_empty(
    place: Place, database_url: str, tmp_path: Path
) -> None:
    whole = check_file(place.folder / "whole")
    assert "masks_sha256" not in json.dumps(list(read_file(whole.path)))
    engine = make_engine(database_url)
    prepare_database(engine)
    engine.dispose()
    assert receive(database_url, rewrite(whole, tmp_path / "older", our_tables="0001"))
    assert execute(database_url, "SELECT masks_sha256 FROM anomalyvfm_opt.study") == [(None,)]
    assert len(dump(database_url)["anomalyvfm_opt.study_image"]) == 2
    assert not receive(database_url, whole.path)
