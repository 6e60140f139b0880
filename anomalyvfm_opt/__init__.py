"""Hyperparameter optimisation service for LoRA anomaly detectors on vision foundation models."""

__version__ = "0.1.0"
