"""Alembic migrations of our own tables; Optuna migrates its own."""
