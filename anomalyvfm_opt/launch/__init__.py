"""Places, restarts and drains ordinary `worker run` processes. It never dispatches: the database does."""
