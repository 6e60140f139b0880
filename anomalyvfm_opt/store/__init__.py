"""The study store: PostgreSQL, embedded or the team's, with Optuna's tables and ours."""
