"""What an engine on the store connects with."""

import pytest

from anomalyvfm_opt.store.engine import make_engine


def test_settings_in_the_url_win_over_ours(monkeypatch):
    seen = {}

    def connect(*_args, **settings):
        seen.update(settings)
        raise RuntimeError("no server needed")

    monkeypatch.setattr("psycopg2.connect", connect)
    with pytest.raises(RuntimeError, match="no server needed"):
        make_engine("postgresql://host/db?connect_timeout=3").connect()
    assert seen["connect_timeout"] == "3"
    assert seen["application_name"] == "anomalyvfm-opt"
    assert seen["keepalives"] == 1
