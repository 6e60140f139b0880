"""Synthetic anomalies with masks, seeded: what trials train on, and the exam that none of them trains on."""
