"""The models held against the migrated schema, both ways: by Alembic, and by what Postgres makes of the models."""

from __future__ import annotations

import secrets
import warnings
from argparse import Namespace
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from alembic.autogenerate import produce_migrations
from alembic.autogenerate.api import AutogenContext

from flask_branches import record
from flask_branches.backends import postgres_errors
from flask_branches.backends import postgres_server as server
from flask_branches.branch import now
from flask_branches.errors import DatabaseFailed, MigrationFailed
from flask_branches.rehearsal.modelled import Comparison
from flask_branches.rehearsal.wording import Wording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from alembic.runtime.environment import NameFilterType
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy.engine import Connection

    from flask_branches.rehearsal.grounds import Grounds
    from flask_branches.rehearsal.migrations import Migrations
    from flask_branches.rehearsal.report import Difference

_LIFE = timedelta(hours=1)
_SCHEMAS = sa.text(
    "SELECT nspname FROM pg_namespace WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'"
)
_EXTENSIONS = sa.text(
    "SELECT e.extname, n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
    " WHERE e.extname <> 'plpgsql' ORDER BY e.oid"
)
_MAY_CREATE = "SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user"
_ON_SQLITE = (
    "On SQLite the models are compared by Alembic alone; CHECK constraints and defaults only where env.py asks for it."
)
_NOT_COMPARED = "so the models' constraints, defaults and enums were not compared with the database's"


@dataclass(frozen=True)
class Drift:
    """In what the models and a migrated schema differ."""

    differences: tuple[Difference, ...] | None
    """None where nothing could be compared."""
    notes: tuple[str, ...]
    """What could not be compared, and why."""


def drift(migrations: Migrations, grounds: Grounds) -> Drift:
    """Compare an application's models with the schema that its migrations have made, as its ``env.py`` lets Alembic do.

    What that leaves out is no drift. On Postgres the models' tables are also made in an empty database beside the
    branch's, and compared as Postgres shows them.

    Args:
        migrations: of an application that is at work on the branch.
        grounds: the branch.

    Raises:
        DatabaseFailed: where the branch is out of reach.
    """
    looked = _Looked(migrations, grounds)
    with postgres_errors.told(grounds.url(None)):
        try:
            migrations.visit(looked.look)
        except DatabaseFailed:
            raise
        except Exception as error:  # env.py and its hooks are others' code, and may raise anything
            if isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated:
                raise
            said = str(error) if isinstance(error, MigrationFailed) else f"{type(error).__name__}: {_said(error)}"
            looked.notes.append(f"The models could not be compared with the database. {said}")
            looked.found = None
    return Drift(None if looked.found is None else tuple(looked.found), tuple(looked.notes))


class _Looked:
    """What has been found, one database after the other."""

    def __init__(self, migrations: Migrations, grounds: Grounds) -> None:
        self.found: list[Difference] | None = []
        self.notes: list[str] = []
        self._migrations = migrations
        self._grounds = grounds

    def look(self, heads: tuple[str, ...], context: MigrationContext) -> None:
        if self.found is None:
            return
        if self._migrations.pending(heads):
            at = ", ".join(heads) or "no revision"
            self.notes.append(f"The models were not compared: the database is at {at}, and there are newer revisions.")
            self.found = None
            return
        key = self._migrations.key_of(context)
        environment = AutogenContext(context)
        wording = Wording(environment.dialect)
        alembics = _compared(environment, heads)
        found = list(wording.differences(alembics))
        if environment.dialect.name == "postgresql":
            comparison = Comparison(wording, wording.places(alembics), _filter(environment))
            found += self._modelled(key, comparison, environment)
        else:
            self._note(_ON_SQLITE)
        self.found += [replace(each, text=f"{each.text} ({key})") if key else each for each in found]

    def _modelled(self, key: str | None, comparison: Comparison, environment: AutogenContext) -> list[Difference]:
        with self._grounds.connect(key) as there:
            if not there.exec_driver_sql(_MAY_CREATE).scalar():
                self._note(f"The role may not make an empty database, {_NOT_COMPARED}: ALTER ROLE … CREATEDB.")
                return []
            with self._empty(key, there) as models:
                self._prepare(models, there)
                if not self._make(models, environment):
                    return []
                tables = [each for each in environment.sorted_tables if _is_included(environment, each)]
                return list(comparison.differences(tables, models, there))

    @contextmanager
    def _empty(self, key: str | None, there: Connection) -> Iterator[Connection]:
        """A database with nothing in it; where all is killed meanwhile, its record lets it be found and deleted."""
        name = f"drift_{secrets.token_hex(6)}"
        main = self._migrations.app.extensions["branches"].databases.default.main
        server.run(there, f"CREATE DATABASE {server.quoted(name)} TEMPLATE template0")
        try:
            expires_at = now() + _LIFE
            server.mark(there, name, record.made(name, parent=None, main=str(main.database), expires_at=expires_at))
            with self._grounds.connect(key, name) as connection:
                yield connection
        finally:
            server.drop(there, name)

    def _prepare(self, models: Connection, there: Connection) -> None:
        """Let it have what the models' tables may need of the branch's: schemas, extensions, and where names lead."""
        for name in there.execute(_SCHEMAS).scalars():
            server.run(models, f"CREATE SCHEMA IF NOT EXISTS {server.quoted(name)}")
        for name, schema in there.execute(_EXTENSIONS):
            try:
                wanted = f"{server.quoted(name)} SCHEMA {server.quoted(schema)}"
                server.run(models, f"CREATE EXTENSION IF NOT EXISTS {wanted} CASCADE")
            except sa.exc.DBAPIError as error:
                said = postgres_errors.said(error)
                self._note(f"The extension {name} cannot be made in an empty database: {said}.")
        path = there.exec_driver_sql("SHOW search_path").scalar_one()
        models.execute(sa.text("SELECT set_config('search_path', :path, false)"), {"path": path})

    def _make(self, models: Connection, environment: AutogenContext) -> bool:
        try:
            for each in sa.util.to_list(environment.metadata):
                each.create_all(models)
        except Exception as error:
            if isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated:
                raise
            self._note(f"The models' tables cannot be made in an empty database ({_said(error)}), {_NOT_COMPARED}.")
            return False
        return True

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _compared(environment: AutogenContext, heads: tuple[str, ...]) -> list[Any]:
    """What Alembic finds, after ``env.py`` has had its say, as when a revision is written by it."""
    context = environment.migration_context
    if context.config is not None:
        # What Alembic's own recipes for env.py ask for; it has one configuration for all that it goes to.
        options = vars(context.config.cmd_opts or Namespace())
        context.config.cmd_opts = Namespace(**{**options, "autogenerate": True})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sa.exc.SAWarning)  # of what SQLAlchemy cannot make out in a database
        directives = [produce_migrations(context, cast("sa.MetaData", environment.metadata))]
    hook = context.opts.get("process_revision_directives")
    if hook is not None:
        hook(context, heads, directives)
    return [found for each in directives for ops in each.upgrade_ops_list for found in ops.as_diffs()]


def _is_included(environment: AutogenContext, table: sa.Table) -> bool:
    """Whether ``env.py`` lets a table of the models be compared."""
    return environment.run_name_filters(
        table.name, "table", {"schema_name": table.schema}
    ) and environment.run_object_filters(table, table.name, "table", reflected=False, compare_to=None)


def _filter(environment: AutogenContext) -> Callable[[sa.Table, str, str], bool]:
    """Whether ``env.py`` lets a part of a table be compared, by its kind and name."""

    def is_compared(table: sa.Table, kind: str, name: str) -> bool:
        of_kind = cast("NameFilterType", kind)  # Alembic's own, and of constraints that it does not compare
        kinds: dict[str, Iterable[Any]] = {"column": table.columns, "index": table.indexes}
        there = kinds.get(kind, table.constraints)
        part = next((each for each in there if each.name == name), None)
        if part is None:  # one that the database alone has, or has named
            stub = sa.Table(table.name, sa.MetaData(), schema=table.schema)
            part = sa.CheckConstraint("", name=name, table=stub)
        return environment.run_name_filters(
            name, of_kind, {"table_name": table.name, "schema_name": table.schema}
        ) and environment.run_object_filters(part, name, of_kind, reflected=part.table is not table, compare_to=None)

    return is_compared


def _said(error: Exception) -> str:
    return str(getattr(error, "orig", error)).strip().split("\n")[0]
