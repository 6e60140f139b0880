"""How good a detector is: scorers, metrics."""
