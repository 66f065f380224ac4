"""Runs the migrations on the connection that `paycore.store.migrate` hands over."""

from alembic import context

from paycore.store.migrate import metadata_options

connection = context.config.attributes["connection"]
context.configure(connection=connection, **metadata_options())  # type: ignore[arg-type]
context.run_migrations()
