"""Optuna's tables in another schema than this program looks in, as a role's search path once put them there."""

from collections.abc import Sequence

from anomalyvfm_opt.store.driver import OPTUNA_SCHEMA

# one of Optuna's names that no other program would take
FIND_SCHEMAS = """
    SELECT quote_ident(n.nspname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relname = 'study_directions' AND c.relkind IN ('r', 'p') ORDER BY 1
"""


def explain_misplaced(schemas: Sequence[str]) -> tuple[str, str]:
    """Return what is wrong, and what to do.

    Args:
        schemas: where Optuna's tables are, at least one; quoted as SQL wants it.
    """
    return (
        f"Optuna's tables of this store lie in the schema {', '.join(schemas)}, not in {OPTUNA_SCHEMA}",
        f"their owner moves each of them: ALTER TABLE {schemas[0]}.studies SET SCHEMA {OPTUNA_SCHEMA}",
    )
