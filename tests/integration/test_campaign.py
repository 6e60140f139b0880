"""The confirmation of several studies at once."""

import pytest

from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.verdict.campaign import Campaign
from anomalyvfm_opt.verdict.next_step import Wishes
from tests.integration.families import Families


def test_what_one_study_came_to_is_told_although_the_next_one_is_not_searched(store: Families) -> None:
    searched = store.found("camp", category="brick")
    searched.search()
    store.found("camp", category="tile")
    told: list[str] = []

    def tell_all() -> None:
        for event in Campaign(store, "camp", Wishes()).advance():
            told.append(event)

    with pytest.raises(EnvironmentMissingError, match="the search of camp/tile is not over"):
        tell_all()
    assert [event.split(":")[0] for event in told] == ["camp/brick#replicates"]
