"""A copy of the data to spoil, a folder to write to, and an external server whose rows are counted."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.external_server import DATABASE, ExternalServer
from tests.integration.program import Finished, Program, make_tiny


@dataclass(frozen=True)
class Place:
    """What one test may spoil."""

    folder: Path
    server: ExternalServer

    @property
    def data(self) -> Path:
        """Folder of one category."""
        return self.folder / "data"

    def count_rows(self) -> dict[str, int]:
        """How many rows each table of the store has."""
        tables = self.server.admin(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname IN ('public', 'anomalyvfm_opt') ORDER BY 1",
            DATABASE,
        )
        return {table: self._count(table) for (table,) in tables}

    def _count(self, table: str) -> int:
        counted: int = self.server.admin(f"SELECT count(*) FROM {table}", DATABASE)[0][0]  # noqa: S608 - our own
        return counted

    def create(
        self, program: Program, environment: dict[str, str] | None = None, is_apart: bool = False, **changes: Any
    ) -> Finished:
        """Try to create a study of a tiny spec with changes; those of its space are merged.

        `is_apart` takes a process of its own, which leaves no file open.
        """
        space = changes.get("search", {}).get("space", {})
        content = make_tiny("bad", **{key: value for key, value in changes.items() if key != "search"})
        content["search"] = {**content["search"], "space": {**content["search"]["space"], **space}}
        spec = self.folder / "spec.yaml"
        spec.write_text(json.dumps(content))
        arguments = ("study", "create", str(spec), "--data", str(self.data))
        run = program.run if is_apart else program.run_here
        return run(*arguments, **{**self.server.environment, **(environment or {})})
