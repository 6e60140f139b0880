"""Versions of the tables: those that the installed Optuna needs, and what to do about others.

Optuna's are read from its files without importing it: every command asks for them when it opens the store.
"""

import re
from functools import cache

from anomalyvfm_opt.store.optuna_private import find_migrations

UPGRADE_OURS = "run `anomalyvfm-opt db upgrade`, while no worker runs"
UPGRADE_PROGRAM = "upgrade this program: they were made by a newer one"
_LINKS = re.compile(r"""^(revision|down_revision) = (?:["'](.+?)["']|None)\s*$""", re.MULTILINE)


@cache
def list_optuna_versions() -> tuple[str, frozenset[str]]:
    """Return the version of the tables that the installed Optuna needs, and all that it knows.

    Its migrations are files, each of which names itself and the one before. Alembic would say the same after an
    import of half a second.

    Raises:
        LookupError: Optuna is not installed, or its migrations are not one chain.
    """
    folder = find_migrations() / "versions"
    links = [read_links(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.py"))]
    known = frozenset(revision for revision, _ in links)
    heads = known - {before for _, before in links}
    if len(heads) != 1:
        raise LookupError(f"Optuna's migrations in {folder} do not end in one version but in {sorted(heads)}")
    return min(heads), known


def read_links(source: str) -> tuple[str, str]:
    """Return the version that a migration leads to and the one before it, which is empty for the first.

    Args:
        source: Python of the migration.

    Raises:
        LookupError: it does not name them.
    """
    found = dict(_LINKS.findall(source))
    if not found.get("revision") or "down_revision" not in found:
        raise LookupError("a migration of Optuna does not name its version and the one before")
    return found["revision"], found["down_revision"]
