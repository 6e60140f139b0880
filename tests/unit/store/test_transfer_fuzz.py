"""Files that chance made of a real export: taken or refused with a message, and nothing else. No database."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.store.transfer.content import check_content
from anomalyvfm_opt.store.transfer.file import Header, to_lines
from anomalyvfm_opt.store.transfer.reading import check_file
from tests.exported import EXPORT, Chunks, change_export, cut_export, write_export


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changed=change_export())
def test_a_changed_export_is_taken_or_refused_and_nothing_else(
    tmp_path: Path, changed: tuple[Header, Chunks]
) -> None:
    file = check_file(write_export(tmp_path / "s", *changed))
    try:
        check_content(file)
        message = ""
    except UsageError as error:
        message = str(error)
    assert len(message.encode("utf-8")) < 3000


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_bytes_are_refused_and_nothing_else(tmp_path: Path, data: st.DataObject) -> None:
    content = EXPORT.read_bytes() if data.draw(st.booleans()) else b"".join(to_lines(*cut_export()))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        length = data.draw(st.sampled_from([0, 1, 20]))
        content = content[:start] + data.draw(st.binary(min_size=1, max_size=20)) + content[start + length :]
    path = tmp_path / "s"
    path.write_bytes(content)
    try:
        check_content(check_file(path))
        message = ""
    except UsageError as error:
        message = str(error)
    assert len(message.encode("utf-8")) < 3000
