"""An application with a history of migrations: the first has been run, the others are pending."""

from __future__ import annotations

import textwrap
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from flask_migrate import Migrate
from tests.branches.worlds import SQLITE

from flask_branches import MigrationFailed, rehearsal, schema
from flask_branches.databases import connected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy.engine import Connection
    from tests.branches.worlds import World

    from flask_branches.rehearsal import Report

USUAL = "file" if SQLITE else "server"
"""The kind of database that is rehearsed on."""

_ENV = """
from alembic import context
from flask import current_app

db = current_app.extensions["migrate"].db
with db.engine.connect() as connection:
    context.configure(
        connection=connection, target_metadata=db.metadata, transaction_per_migration={per_migration!r}
    )
    with context.begin_transaction():
        context.run_migrations()
"""
_ENV_OF_ALL = """
from alembic import context
from flask import current_app

db = current_app.extensions["migrate"].db
for key, table in ((None, "note"), ("second", "tag")):
    with db.engines[key].connect() as connection:
        context.configure(connection=connection, table=table, transaction_per_migration={per_migration!r})
        with context.begin_transaction():
            context.run_migrations()
"""
_REVISION = '''"""{title}"""

import sqlalchemy as sa
from alembic import op
from flask import current_app

revision = {id!r}
down_revision = {down!r}


def upgrade():
{upgrade}


def downgrade():
{downgrade}
'''


@dataclass
class History:
    """Writes revisions, and rehearses them."""

    world: World
    folder: Path
    per_migration: bool = True
    ids: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "versions").mkdir(parents=True)
        env = _ENV_OF_ALL if self.world.Tag else _ENV
        (self.folder / "env.py").write_text(env.format(per_migration=self.per_migration))
        Migrate(self.world.app, self.world.db, directory=str(self.folder))
        self.add("pass", id="first")
        for key in self.world.db.engines:
            self.run("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)", key)
            self.run("INSERT INTO alembic_version VALUES ('first')", key)

    def add(self, upgrade: str, downgrade: str = "pass", *, id: str = "", down: Any = None) -> str:  # noqa: A002  that is its name
        """Write a revision after the last one, or after another."""
        name = id or f"r{len(self.ids)}"
        text = _REVISION.format(
            id=name,
            down=down or (self.ids[-1] if self.ids else None),
            title=f"what {name} does",
            upgrade=_indented(upgrade),
            downgrade=_indented(downgrade),
        )
        (self.folder / "versions" / f"{name}.py").write_text(text)
        self.ids.append(name)
        return name

    def rehearse(self, **options: Any) -> Report:
        """Rehearse what is pending; by default without what comes after the migrations."""
        return rehearsal.rehearse(**({"drift": False, "undo": False} | options))

    def rehearse_briefly(self, is_there: Callable[[Report], object], **options: Any) -> tuple[Report, str]:
        """Rehearse with a second's time, or more where a busy machine needs it; and say with how much."""
        for time in ("1s", "4s", "16s"):
            with suppress(MigrationFailed):
                report = self.rehearse(timeout=time, **options)
                if is_there(report):
                    return report, time
        return self.rehearse(timeout="1m", **options), "1m"

    def run(self, statement: str, key: str | None = None) -> None:
        """Run SQL on one of the application's own databases."""
        with connected(self.world.db.engines[key].url, {}) as connection:
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
            connection.commit()

    @contextmanager
    def at(self, url: str) -> Iterator[Connection]:
        """A connection to a branch."""
        with connected(sa.make_url(url), {}) as connection:
            yield connection

    def dump(self) -> tuple[str, list[tuple[Any, ...]]]:
        """What the application's own database holds."""
        with connected(self.world.main, {}) as connection:
            rows = [tuple(row) for row in connection.execute(sa.text("SELECT * FROM note ORDER BY id"))]
            return schema.dump(connection), rows


def _indented(code: str) -> str:
    return textwrap.indent(textwrap.dedent(code).strip(), "    ")
