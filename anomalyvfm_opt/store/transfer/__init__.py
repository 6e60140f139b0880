"""A study as a file, to move it between stores."""
