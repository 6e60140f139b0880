"""The experiment of one study on one host: what a trial runs. No database in here."""
