"""Handlers of signals for the length of a `with`, and what `nohup` had ignored."""

import signal

from anomalyvfm_opt.signals import EXIT_CODES, heard


def test_afterwards_they_do_again_what_they_did_before() -> None:
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in EXIT_CODES}
    with heard(lambda number, _frame: came.append(number)):
        for number in EXIT_CODES:
            signal.raise_signal(number)
    assert came == list(EXIT_CODES)
    assert {number: signal.getsignal(number) for number in EXIT_CODES} == before


def test_what_nohup_had_ignored_stays_ignored() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with heard(lambda number, _frame: came.append(number)):
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert came == []
