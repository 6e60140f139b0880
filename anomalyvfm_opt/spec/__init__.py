"""What to search, on what, for how much: the spec file as frozen values."""
