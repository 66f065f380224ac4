"""Migrations, run from inside the package: no alembic.ini, no command line."""

from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from paycore.store.tables import METADATA

FOLDER = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 7205759403791


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return ScriptDirectory.from_config(config)


def head() -> str:
    """The newest migration."""
    newest = _scripts().get_current_head()
    assert newest is not None
    return newest


def revision(connection: Connection) -> str | None:
    """The migration that a database stands at."""
    return MigrationContext.configure(connection).get_current_revision()


def is_empty(connection: Connection) -> bool:
    """Whether a database has no table of anybody's."""
    return not inspect(connection).get_table_names()


def run(connection: Connection, to: str) -> None:
    """Migrate up or down to a revision ("head", "base" or an id), inside the connection's transaction."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL lock_timeout = '30s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
    scripts = _scripts()
    now = revision(connection)
    down = to == "base" or (to != "head" and now is not None and _is_below(scripts, to, now))

    def steps(current: object, _context: MigrationContext) -> object:
        return scripts._downgrade_revs(to, current) if down else scripts._upgrade_revs(to, current)  # type: ignore[arg-type] # noqa: SLF001

    config = Config()
    config.attributes["connection"] = connection
    with EnvironmentContext(config, scripts, fn=steps, as_sql=False, destination_rev=to):
        scripts.run_env()


def _is_below(scripts: ScriptDirectory, to: str, now: str) -> bool:
    return any(script.revision == to for script in scripts.iterate_revisions(now, "base")) and to != now


def metadata_options() -> dict[str, object]:
    """What a migration context has to know about our tables."""
    return {
        "target_metadata": METADATA,
        "render_as_batch": True,
        "compare_type": True,
        "compare_server_default": True,
        "transaction_per_migration": False,
    }
