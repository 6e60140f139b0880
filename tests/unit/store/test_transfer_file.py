"""The file that carries a study: its lines, its hash, and what is refused of it."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.store.transfer.file import Header, check_target, to_lines, write_file
from anomalyvfm_opt.store.transfer.reading import check_file, read_chunks

HEADER = Header(
    study="x/tile",
    program="1.2",
    our_tables="0007",
    optuna_tables="v3",
    exported_at="2026-01-02",
    trials=2,
    requeued=0,
)
CHUNKS: list[dict[str, Any]] = [
    {"table": "trials", "rows": [{"number": 0}, {"number": 1}]},
    {"table": "trial_values", "rows": [{"value": 0.1}, {"note": "Gehäuse"}]},
]
WHOLE = b"".join(to_lines(HEADER, CHUNKS))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study.jsonl"


def seal(*contents: Any) -> bytes:
    """Lines with a hash that fits, by another way than that of the program."""
    text = "".join(f"{json.dumps(content)}\n" for content in contents).encode()
    return text + f'{{"sha256":"{hashlib.sha256(text).hexdigest()}"}}\n'.encode()


def test_the_last_line_is_the_hash_of_all_bytes_before_it() -> None:
    *before, last = WHOLE.splitlines(keepends=True)
    assert json.loads(last) == {"sha256": hashlib.sha256(b"".join(before)).hexdigest()}
    assert [json.loads(line) for line in before[1:]] == CHUNKS
    assert WHOLE.isascii()


def test_the_order_of_keys_changes_no_byte_and_a_number_that_is_none_is_refused() -> None:
    turned = [dict(reversed(chunk.items())) for chunk in CHUNKS]
    assert b"".join(to_lines(HEADER, turned)) == WHOLE
    with pytest.raises(ValueError, match="not JSON compliant"):
        list(to_lines(HEADER, [{"table": "trials", "rows": [float("nan")]}]))


@pytest.mark.parametrize("name", ["study.jsonl", "study.jsonl.gz"])
def test_what_was_written_is_read_and_packed_only_where_the_name_says_so(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    write_file(str(target), to_lines(HEADER, CHUNKS))
    content = target.read_bytes()
    assert (gzip.decompress(content) if name.endswith(".gz") else content) == WHOLE
    found = check_file(target)
    assert (found.path, found.header, found.seal) == (target, HEADER, WHOLE.splitlines(keepends=True)[-1])
    assert list(read_chunks(found)) == [(2, CHUNKS[0]), (3, CHUNKS[1])]


def test_a_packed_file_is_the_same_each_time_and_known_by_its_bytes_not_its_name(tmp_path: Path) -> None:
    one, other, renamed = (tmp_path / name for name in ("one.gz", "other.gz", "renamed"))
    for target in (one, other):
        write_file(str(target), to_lines(HEADER, CHUNKS))
    assert one.read_bytes()[3:8] == bytes(5)  # of neither a name nor a time
    assert one.read_bytes() == other.read_bytes()
    assert check_file(one.rename(renamed)).header == HEADER


def test_every_byte_that_changes_is_noticed(path: Path) -> None:
    """Turn one bit of each byte in turn, the hash and the line breaks included."""
    for place in range(len(WHOLE)):
        changed = bytearray(WHOLE)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(UsageError):
            check_file(path)


def test_a_file_that_is_cut_anywhere_is_refused(path: Path) -> None:
    for length in range(len(WHOLE)):
        path.write_bytes(WHOLE[:length])
        with pytest.raises(UsageError, match=r"ends too early|is damaged|not an exported study"):
            check_file(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (WHOLE + b"\n", "something follows its end"),
        (seal({"schema": 1, "kind": "a cake"}), "is not an exported study"),
        (seal({"schema": "1", "kind": "anomalyvfm-opt study"}), "is not an exported study"),
        (seal([1]), "is not an exported study"),
        (b"[" * 100_000, "is not an exported study"),
        (WHOLE.splitlines(keepends=True)[0] + b"[1]\n", "is damaged: line 2 is not an object"),
        (WHOLE.splitlines(keepends=True)[0] + b"[" * 100_000, "is damaged"),
    ],
)
def test_what_is_no_whole_study_is_refused_with_a_reason(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        check_file(path)


def test_a_newer_format_names_the_program_that_wrote_it(path: Path) -> None:
    path.write_bytes(seal({"schema": 2, "kind": "anomalyvfm-opt study", "program": "9.9"}))
    with pytest.raises(UsageError, match="is of format 2, and this program reads 1") as caught:
        check_file(path)
    assert caught.value.hint == "use anomalyvfm-opt 9.9 or newer"


def test_a_file_that_changed_after_it_was_checked_is_noticed_while_it_is_read(path: Path) -> None:
    path.write_bytes(WHOLE)
    file = check_file(path)
    path.write_bytes(WHOLE.replace(b"0.1", b"0.2"))
    with pytest.raises(UsageError, match="does not have the hash"):
        list(read_chunks(file))
    path.write_bytes(b"".join(to_lines(HEADER, CHUNKS[:1])))  # whole as well, and another
    with pytest.raises(UsageError, match="was changed while it was read"):
        list(read_chunks(file))


def test_what_may_be_written_over_is_a_file_and_only_where_that_is_allowed(tmp_path: Path) -> None:
    there, link = tmp_path / "there", tmp_path / "link"
    there.touch()
    link.symlink_to(tmp_path / "nowhere")
    for target in ("-", str(tmp_path / "new")):
        check_target(target, may_replace=False)
    check_target(str(there), may_replace=True)
    for path, may_replace, message in (
        (there, False, "is there already"),
        (tmp_path, True, "is a folder"),
        (link, True, "is not a regular file"),
    ):
        with pytest.raises(UsageError, match=message):
            check_target(str(path), may_replace=may_replace)


def test_an_error_while_lines_are_made_leaves_the_older_file_as_it_was(path: Path) -> None:
    path.write_bytes(b"older")
    with pytest.raises(ValueError, match="JSON"):
        write_file(str(path), to_lines(HEADER, [*CHUNKS, {"rows": float("inf")}]))
    assert path.read_bytes() == b"older"
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(EnvironmentMissingError, match="cannot write"):
        write_file(str(path.parent / "none" / "x"), to_lines(HEADER, CHUNKS))
