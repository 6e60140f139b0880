"""Several machines: the page's three commands run, each on a host of its own."""

import shlex
from pathlib import Path

import pytest

from tests.chaos.hosts import NEEDS_NAMESPACES, Site, network_of
from tests.docs.pages import TOUR, list_blocks
from tests.integration.program import CATEGORY, Program, finish, write_spec

pytestmark = [pytest.mark.slow, NEEDS_NAMESPACES]


def test_the_three_commands_run(open_folder: Path, program: Program) -> None:
    (block,) = (block for page in TOUR for block in list_blocks(page) if block.mark == "run on several hosts")
    lines = [line.partition("#")[0] for line in block.text.strip().splitlines()]
    assert len(lines) == 3
    closing, opening, looking, launching = (shlex.split(one)[1:] for line in lines for one in line.split("&&"))
    with network_of("db", "one", "two") as hosts:
        database, *others = (Site(host, open_folder) for host in hosts)
        file = write_spec(open_folder, "several", references=["frozen"])
        database.run("study", "create", str(file), "--data", str(program.data), "--category", CATEGORY)
        database.run(*closing)
        opening = [database.host.address if word == "10.0.0.1" else word for word in opening]
        team = database.invite(*opening)
        try:

            def fill_in(command: list[str]) -> list[str]:
                return [word.replace("$DIR", str(program.data)) for word in command]

            for site in others:
                found = site.run(*fill_in(looking), **team)
                assert f"1 with trials left: several/{CATEGORY}" in found
            fleets = [site.start(*fill_in(launching), **team) for site in others]
            ended = [finish(fleet) for fleet in fleets]
            assert [done.returncode for done in ended] == [0, 0], ended
            shown = database.run("study", "show", f"several/{CATEGORY}")
            assert "4 of 4 trials done" in shown
            assert "4 complete, 0 pruned, 0 failed, 0 running, 0 waiting" in shown
        finally:
            database.run("db", "down")
