"""`python -m anomalyvfm_opt` is `anomalyvfm-opt`."""

from anomalyvfm_opt.cli.main import run

run()
