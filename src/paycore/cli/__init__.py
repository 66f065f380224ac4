"""The command line. Operators use it on the database, callers' developers use it on a server.

Every command says what it did on stdout, a table on a terminal and plain text elsewhere, or JSON with `--json`; everything
else (progress, notes, errors) goes to stderr. Nothing heavy is imported before a command runs, so help comes at once.
"""
