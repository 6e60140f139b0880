"""LoRA fine-tuning on synthetic anomalies: no database and no Optuna in here."""
