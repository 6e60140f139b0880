"""What is refused of a spec file before it is formed: size, values behind aliases, depth, endless numbers."""

import os
import resource
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from anomalyvfm_opt.errors import SpecError
from anomalyvfm_opt.spec.load import load_spec
from anomalyvfm_opt.spec.shipped import find_shipped

SOUND = find_shipped("mvtec_ad2.yaml").read_text(encoding="utf-8")
NINE = range(ord("b"), ord("k"))
BOMB = 'a: &a ["x","x","x","x","x","x","x","x","x"]\n' + "".join(
    f"{chr(i)}: &{chr(i)} [{','.join([f'*{chr(i - 1)}'] * 9)}]\n" for i in NINE
)


def most_memory_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def complain(folder: Path, text: str | bytes) -> str:
    """The message about a spec file, without its path; quickly, in little memory and few words."""
    path = folder / "s.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    began, before = time.monotonic(), most_memory_kib()
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert time.monotonic() - began < 20
    assert most_memory_kib() - before < 100 * 1024
    assert len(str(caught.value)) < 30_000
    return str(caught.value).replace(f"{path}:", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "4:20: a spec has at most 5,000 values, those that aliases stand for included"),
        (f"name: {BOMB[6:]}", "a spec has at most 5,000 values"),
        ("x: &a [" + "1," * 2000 + "]\ny: [" + "*a," * 5 + "]\n", "2:"),
        (
            "a: &a {b: 1}\nc:\n" + "".join(f"  k{i}: {{<<: *a}}\n" for i in range(4000)),
            "has at most 5,000 values",
        ),
        ("a: &a [*a]\n", "1:8: an alias stands inside of what it stands for"),
        ("a: *b\n", "1:4: not YAML: found undefined alias"),
        ("[" * 100_000, "1:21: a spec is nested at most 20 deep"),
        ("a: " + "{b: " * 100, "a spec is nested at most 20 deep"),
        ("- " * 5000, "a spec is nested at most 20 deep"),
        ("name: 0x" + "f" * 5000, "1:7: a number in a spec has at most 100 characters"),
        ("name: 1" + "0" * 5000, "1:7: a number in a spec has at most 100 characters"),
        ("#" * (2**17 + 1), "cannot be read: it is larger than 131,072 bytes"),
        (f"? {'k' * 100_000}\n: 1\n", "unknown key"),
        (f"name: [{'x' * 100_000}]\n", "name: should be text, not ['xxx"),
        (f"name: {'x' * 100_000}\n", "name: should be text of at most 100 characters, not 'xxx"),
        ("".join(f"k{i}: 1\n" for i in range(2000)), "and more"),
        (f"a: !{'x' * 100_000} 1\n", "unknown key"),
        (f"{'x' * 100_000}\n", "a spec is a mapping"),
        ("a: 'x\n" * 5000, "not YAML"),
        (b"name: \xff\n", "cannot be read: 'utf-8' codec can't decode"),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) and len(value) < 100 else "",
)
def test_what_is_too_much_is_refused_at_once(tmp_path: Path, text: str | bytes, message: str) -> None:
    assert message in complain(tmp_path, text)


def test_a_named_pipe_and_a_device_are_refused_before_they_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(SpecError, match="cannot be read"):
            load_spec(path)


@pytest.mark.parametrize("key", ["description", "currency", "weights", "category"])
def test_a_text_that_no_database_holds_is_refused(tmp_path: Path, key: str) -> None:
    section = {"currency": "verdict: {currency: %s}", "weights": "backbone: {weights: %s}"}
    text = "name: x\n" + section.get(key, "description: %s") % '"a\\0b"' + "\n"
    if key == "category":
        text = 'name: x\ndata: {categories: ["a\\0b"], lock: half, image_size_px: 64}\n'
    assert "NUL" in complain(tmp_path, text) or "name of a folder" in complain(tmp_path, text)


def test_aliases_within_the_limits_are_as_before(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f"{SOUND}\n", encoding="utf-8")
    assert load_spec(path).name == "mvtec_ad2"


TOKENS = (
    "&a |*a|<<: *a|!!int |!!binary x|!!set {a}|!!omap [a: 1]|!!timestamp 2026-13-40|? |---\n|...\n|{|}|[|]|: |- |'"
)
NUMBERS = 'null|.nan|.inf|1e999|-1|0x1F|2026-01-01|yes|\u2028|\ufeff|é|"\\ud800"|"\\0"|~|#|"|\t|\n'
PIECES = st.sampled_from([*f"{TOKENS}|{NUMBERS}".split("|"), "|", "%YAML 1.1\n---\n"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_spec_is_read_or_refused_and_nothing_else(tmp_path: Path, data: st.DataObject) -> None:
    text = SOUND
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.sampled_from([0, 0, 1, 5, 30, 200]))
        text = text[:start] + data.draw(PIECES | st.text(max_size=5)) + text[start + length :]
    read(tmp_path, text.encode("utf-8", "surrogatepass"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300) | st.lists(PIECES, max_size=30).map(lambda p: "".join(p).encode("utf-8")))
@example(content=b"a: !!timestamp 2026-13-40")
@example(content=b"? [a]\n: 1\n? {b: 1}\n: 2\n")
@example(content=b"- ! 0")
def test_any_bytes_are_read_or_refused_and_nothing_else(tmp_path: Path, content: bytes) -> None:
    read(tmp_path, content)


def read(folder: Path, content: bytes) -> None:
    path = folder / "f.yaml"
    path.write_bytes(content)
    try:
        load_spec(path)
        message = ""
    except SpecError as error:
        message = str(error)
    assert len(message.encode("utf-8")) < 30_000  # it can be printed, and read
