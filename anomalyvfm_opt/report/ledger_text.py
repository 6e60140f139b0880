"""Forecasts beside what was confirmed, in the shape of the first experiment's table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from anomalyvfm_opt.report.grid import Grid, signed
from anomalyvfm_opt.verdict.ledger import Entry
from anomalyvfm_opt.verdict.predictions import Judged, calibrate

_JUDGED = ("forecast by", "forecast", "confirmed", "direction", "size", "inside interval")


def tabulate_judged(judged: Mapping[str, Sequence[Judged]]) -> Grid:
    """Return the forecasts of some categories and what came of them."""
    rows = [(category, *_judged_row(one)) for category, ours in judged.items() for one in ours]
    return Grid("Forecast before, confirmed after", ("category", *_JUDGED), rows, right=(2, 3))


def tabulate_ledger(entries: Sequence[Entry]) -> Grid:
    """Return all forecasts, also those that wait for an answer."""
    rows = []
    for entry in entries:
        made = entry.made
        answer = (made.source, signed(made.gain), "-", "open", "open", "open")
        if entry.judged is not None:
            answer = _judged_row(entry.judged)
        rows.append((made.study_name, str(made.round), *answer, f"{made.made_at:%Y-%m-%d %H:%M}", made.note))
    return Grid("Forecasts", ("study", "round", *_JUDGED, "made at (UTC)", "note"), rows, right=(1, 3, 4))


def tabulate_records(entries: Sequence[Entry]) -> Grid:
    """Return how good each source has been so far."""
    heads = (
        "source",
        "answered",
        "direction",
        "size",
        "held",
        "inside",
        "mean forecast",
        "confirmed",
        "too much by",
    )
    rows = [
        (
            record.source,
            str(record.n),
            *(f"{hits} of {record.n}" for hits in (record.directions_right, record.sizes_reached, record.held)),
            f"{record.inside} of {record.n}",
            signed(record.mean_predicted),
            signed(record.mean_confirmed),
            signed(record.mean_error),
        )
        for record in calibrate([entry.judged for entry in entries if entry.judged is not None])
    ]
    return Grid("How good each source has been", heads, rows, right=tuple(range(1, 9)))


def judged_to_json(one: Judged) -> dict[str, Any]:
    """Return a forecast and its answer."""
    return {
        "source": one.prediction.source,
        "predicted": one.prediction.gain,
        "note": one.prediction.note,
        "confirmed": one.confirmed,
        "direction": one.is_direction_right,
        "size": one.is_size_reached,
        "inside": one.is_inside,
    }


def ledger_to_json(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return the `forecast list --json` object (schema 1)."""
    return {
        "schema": 1,
        "predictions": [
            {
                "study": entry.made.study_name,
                "round": entry.made.round,
                "source": entry.made.source,
                "predicted": entry.made.gain,
                "note": entry.made.note,
                "made_at": entry.made.made_at.isoformat(),
                "made_by": entry.made.made_by,
                "answer": None if entry.judged is None else judged_to_json(entry.judged),
            }
            for entry in entries
        ],
        "sources": [
            asdict(record) for record in calibrate([entry.judged for entry in entries if entry.judged is not None])
        ],
    }


def _judged_row(one: Judged) -> tuple[str, str, str, str, str, str]:
    return (
        one.prediction.source,
        signed(one.prediction.gain),
        signed(one.confirmed),
        "hit" if one.is_direction_right else "miss",
        "hit" if one.is_size_reached else "miss",
        "yes" if one.is_inside else "no",
    )
