"""Migrations, run from inside the package: no alembic.ini, no command line.

Alembic takes half a second to import, so it is imported when there is something to migrate, and not by a server that
only wants to know whether there is.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from paycore.store.tables import METADATA

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

FOLDER = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 7205759403791


@cache
def head() -> str:
    """The newest migration. Migrations follow one another in a line and are numbered by their file names."""
    return max(path.name.partition("_")[0] for path in (FOLDER / "versions").glob("[0-9]*.py"))


def revision(connection: Connection) -> str | None:
    """The migration that a database stands at."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def is_empty(connection: Connection) -> bool:
    """Whether a database has no table of anybody's."""
    return not inspect(connection).get_table_names()


def run(connection: Connection, to: str) -> None:
    """Migrate up or down to a revision ("head", "base" or an id), inside the connection's transaction."""
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext

    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL lock_timeout = '30s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
    scripts = script_directory()
    target = head() if to == "head" else to
    goes_down = target == "base" or target < (revision(connection) or "")

    def steps(current: object, _context: "MigrationContext") -> object:
        step = scripts._downgrade_revs if goes_down else scripts._upgrade_revs  # noqa: SLF001 - as alembic.command does
        return step(target, current)  # type: ignore[arg-type]

    config = Config()
    config.attributes["connection"] = connection
    with EnvironmentContext(config, scripts, fn=steps, as_sql=False, destination_rev=target):
        scripts.run_env()


def script_directory() -> "ScriptDirectory":
    """Our migrations as Alembic knows them."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return ScriptDirectory.from_config(config)


def metadata_options() -> dict[str, object]:
    """What a migration context has to know about our tables."""
    return {
        "target_metadata": METADATA,
        "render_as_batch": True,
        "compare_type": True,
        "compare_server_default": True,
        "transaction_per_migration": False,
    }
