"""`confirm`, `verdict` and the ledger of predictions."""
