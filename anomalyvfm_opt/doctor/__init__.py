"""Checks of everything that a worker needs, each with what to do."""
