"""Hyperparameter optimisation service for LoRA anomaly detectors on vision foundation models."""

__version__ = "0.1.0"

# One more with each change after which a trial of the same inputs gives other numbers: a study keeps to the method
# that it was created by, and a program of another one does not work on it.
METHOD = 1
