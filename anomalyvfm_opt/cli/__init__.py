"""The command line: one file a noun, and the only place where the parts are wired together."""
