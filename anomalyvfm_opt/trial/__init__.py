"""The trial engine: ticket -> ask -> run -> tell, on a native Optuna study. It never imports training."""
