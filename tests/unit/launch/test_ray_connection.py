"""What is said before Ray is asked for anything; runs without Ray."""

from pathlib import Path

import pytest

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.launch import ray_connection
from anomalyvfm_opt.launch.ray_connection import connect, prepare_authentication


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # so that it is restored, whatever a test does
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(ray_connection, "_import_ray", lambda: None)
    return tmp_path


def test_without_a_token_it_is_said_where_one_belongs(home: Path) -> None:
    with pytest.raises(EnvironmentMissingError) as caught:
        prepare_authentication()
    assert str(home / ".ray" / "auth_token") in caught.value.message
    assert "RAY_AUTH_MODE=disabled" in caught.value.hint


def test_a_named_file_without_a_token_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "empty"))
    with pytest.raises(EnvironmentMissingError, match="empty holds no token"):
        prepare_authentication()


@pytest.mark.parametrize("place", ["variable", "named", "home"])
def test_a_token_is_found_where_ray_looks(monkeypatch: pytest.MonkeyPatch, home: Path, place: str) -> None:
    file = home / (".ray/auth_token" if place == "home" else "elsewhere")
    file.parent.mkdir(exist_ok=True)
    file.write_text("secret")
    if place == "variable":
        monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    if place == "named":
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(file))
    prepare_authentication()


def test_the_users_own_mode_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    prepare_authentication()


@pytest.mark.parametrize("address", ["somewhere", "host:", ":6379", "host:port", "host:70000", ""])
def test_what_is_no_address_is_a_mistake(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(UsageError, match="is no address"):
        connect(address)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_a_cluster_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(EnvironmentMissingError, match=f"no Ray cluster at {address}"):
        connect(address)
