"""Large studies page by page: what optuna-dashboard answers stays small, whatever the size of the study.

optuna-dashboard answers the first request of a study's page with all trials, and each later one with those after
the trials that the browser has: 128 MB and 25 s for 20,000 trials. Here an answer holds at most `PAGE` trials, the
next ones. The browser asks again every few seconds anyway and puts the answers together, so a page fills by
itself. Meanwhile an attribute of the study says how far it is.
"""

import re
from collections.abc import Container, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from anomalyvfm_opt.report.guard import Application, StartResponse
from anomalyvfm_opt.store.direct import DirectStorage, reading_at_most
from anomalyvfm_opt.store.optuna_private import put_cache_before, read_study_key
from anomalyvfm_opt.words import counted

if TYPE_CHECKING:
    from anomalyvfm_opt.store.optuna_private import ListedStudy

PAGE = 1000  # trials
_DETAIL = re.compile(r"/api/studies/(\d+)")
_SHOWN = "shown so far"


@dataclass(frozen=True)
class _Page:
    """What a request asks for: trials of a study after the first so many."""

    study_id: int
    after: int


_asked: ContextVar[_Page | None] = ContextVar("asked", default=None)


@BaseStorage.register  # which optuna-dashboard asks for; what is not here is the cache's
class PagedStorage:
    """Optuna's cached storage, as far as optuna-dashboard asks one; a request for a study gets one page of it.

    Args:
        direct: beneath the cache.
        size: of a page, in trials.
    """

    def __init__(self, direct: DirectStorage, size: int = PAGE) -> None:
        self._direct = direct
        self._size = size
        self._cached: BaseStorage = put_cache_before(direct)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials of a study up to the end of the page that is asked for, or all."""
        page = _asked.get()
        if page is None:
            return self._cached.get_all_trials(study_id, deepcopy, states)
        trials = self._read_up_to(study_id, page.after + self._size, deepcopy, states)
        # The browser keeps trials up to the first that is not finished: behind it, it forgets what it had.
        is_held_up = any(not trial.state.is_finished() for trial in trials[page.after : page.after + 1])
        return trials if is_held_up else trials[: page.after + self._size]

    def _read_up_to(
        self, study_id: int, end: int, deepcopy: bool, states: Container[TrialState] | None
    ) -> list[FrozenTrial]:
        """Return what the cache holds, which has read further if that was not enough."""
        trials: list[FrozenTrial] = []
        while True:
            known = len(trials)
            with reading_at_most(self._size):
                trials = self._cached.get_all_trials(study_id, deepcopy, states)
            if len(trials) >= end or len(trials) == known:
                return trials

    def get_all_studies(self) -> "list[ListedStudy]":
        """Return all studies; the one whose page is asked for says how far it is shown."""
        studies = self._cached.get_all_studies()
        page = _asked.get()
        for study in studies:
            if page is not None and read_study_key(study) == page.study_id:
                end, trials = page.after + self._size, self._direct.get_n_trials(page.study_id)
                if trials > end:
                    study.user_attrs[_SHOWN] = (
                        f"{end} of {counted(trials, 'trial')}; the others follow by themselves"
                    )
        return studies

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cached, name)


def make_paged(storage: PagedStorage) -> Application:
    """Return optuna-dashboard on a storage, which it tells which page is asked for.

    optuna-dashboard keeps the trials of a study for some seconds, whatever they were read for: all, which the
    importance of parameters is reckoned from, or one page. So each request for a page goes to a dashboard of its
    own, which costs 2 ms; what was read stays in the storage's cache.
    """
    import optuna_dashboard

    others: Application = optuna_dashboard.wsgi(storage)

    def answer(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        found = _DETAIL.fullmatch(environ.get("PATH_INFO", ""))
        if found is None:
            return others(environ, start_response)
        own: Application = optuna_dashboard.wsgi(storage)
        token = _asked.set(_Page(int(found[1]), _read_after(environ)))
        try:
            return own(environ, start_response)
        finally:
            _asked.reset(token)

    return answer


def _read_after(environ: dict[str, Any]) -> int:
    """Return how many trials the browser has; 0 where that is no number, which optuna-dashboard itself refuses."""
    after = parse_qs(environ.get("QUERY_STRING", "")).get("after", ["0"])[0]
    return int(after) if after.isdecimal() else 0
