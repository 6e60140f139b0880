"""The trial linter: checks that catch a trial whose number is not what it seems. Each family has a module."""
