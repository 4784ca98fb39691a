"""An application with branches, its databases of every kind, and whoever else goes there."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import orm

from flask_branches import Branches, DatabaseFailed, embedded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Flask
    from tests.emulator.running import Emulator, Project

    from flask_branches import Branch
    from flask_branches.backends import Backend

ENVIRONMENT = os.environ.get("QUESTIONS_CONFIG") or "sqlite"
SQLITE, POSTGRES, NEON = (name == ENVIRONMENT for name in ("sqlite", "postgres", "neon"))
KINDS = {"sqlite": ["file", "memory"], "postgres": ["embedded", "server"], "neon": ["neon"]}[ENVIRONMENT]
USUAL = "server" if POSTGRES else KINDS[0]
"""The kind of database for rules that do not depend on it."""


def not_on_neon(reason: str) -> pytest.MarkDecorator:
    """For a test of a rule that Neon has otherwise, which has a test in tests/neon."""
    return pytest.mark.skipif(NEON, reason=f"on Neon {reason}")


@dataclass(frozen=True)
class World:
    """An application with a table in its default database and one in a bind, and its branches."""

    app: Flask
    db: Any
    Note: Any
    Tag: Any
    branches: Branches
    kind: str
    served_in: Path | None = None
    """The folder of the Postgres that it brings along."""
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """How Neon is asked, where its databases are there."""

    @property
    def backend(self) -> Backend:
        """How its default database is branched."""
        return self.branches.databases.default

    @property
    def main(self) -> sa.URL:
        """Its default database."""
        return self.backend.main

    @property
    def file(self) -> Path:
        """Where that is, on SQLite."""
        return Path(str(self.main.database))

    @property
    def folder(self) -> Path:
        """Where its branches are, on SQLite."""
        return Path(f"{self.file}.branches")

    def environ(self, **more: str) -> dict[str, str]:
        """What leads a program of its own, `programs/notes.py`, to its databases."""
        urls = {key: engine.url.render_as_string(hide_password=False) for key, engine in self.db.engines.items()}
        values = {
            "NOTES_MAIN": urls.pop(None),
            "NOTES_BINDS": json.dumps(urls),
            "NOTES_INSTANCE": self.app.instance_path,
        }
        if self.served_in is not None:
            values["NOTES_FOLDER"] = str(self.served_in)
        path = [str(Path(__file__).parent / "programs"), os.environ.get("PYTHONPATH", "")]
        return {**os.environ, **self.variables, **values, "PYTHONPATH": os.pathsep.join(filter(None, path)), **more}

    def texts(self, model: Any = None) -> list[str]:
        """What the application's own database holds."""
        model = model or self.Note
        found = list(self.db.session.scalars(sa.select(model.text).order_by(model.id)))
        self.let_go()
        return found

    def add(self, *texts: str, model: Any = None) -> None:
        """Write to the application's own database."""
        self.db.session.add_all([(model or self.Note)(text=text) for text in texts])
        self.db.session.commit()
        self.let_go()

    def let_go(self) -> None:
        """Keep no connection that would be in another process's way."""
        self.db.session.remove()
        for each in self.branches.databases.all:
            each.let_go()


@dataclass(frozen=True)
class Client:
    """Somebody who knows nothing but a URL."""

    url: str

    def run(self, statement: str) -> list[Any]:
        """Run one statement, and give its rows."""
        engine = sa.create_engine(self.url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            result = connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
            return [tuple(row) for row in result] if result.returns_rows else []

    def tables(self) -> list[str]:
        """The names of all tables."""
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            return sorted(sa.inspect(connection).get_table_names())

    def texts(self, table: str = "note") -> list[str]:
        """What is in a table."""
        return [text for (text,) in self.run(f"SELECT text FROM {table} ORDER BY id")]  # noqa: S608

    def add(self, text: str, table: str = "note") -> None:
        """Write a row."""
        quoted = text.replace("'", "''")
        self.run(f"INSERT INTO {table} (text) VALUES ('{quoted}')")  # noqa: S608


@dataclass
class Places:
    """Finds databases for applications of the tests, and takes what is in them away."""

    request: pytest.FixtureRequest
    folder: Path
    spare: dict[str, list[sa.URL]]
    undo: ExitStack
    projects: dict[str, Project] = field(default_factory=dict)
    """Of Neon, by the name of the application whose databases are on its default branch."""
    emulator: Emulator | None = None
    """Where they are; by default where all tests have theirs."""

    @property
    def neon(self) -> Emulator:
        """Neon, on this machine."""
        self.emulator = self.emulator or self.request.getfixturevalue("emulator")
        return self.emulator

    def url(self, kind: str, name: str) -> sa.URL:
        """Where a database of that kind is that has nothing in it."""
        if kind == "memory":
            return sa.URL.create("sqlite")
        if kind == "file":
            return sa.URL.create("sqlite", database=str(self.folder / f"{name}.sqlite"))
        if kind == "neon":
            return self._on_neon(*name.split("_"))
        if self.spare[kind]:
            return self.spare[kind].pop()
        name = f"main_{uuid.uuid4().hex[:8]}"
        if kind == "embedded":
            return embedded.url(name)
        admin: Client = self.request.getfixturevalue("admin")
        admin.run(f"CREATE DATABASE {name}")
        server: sa.URL = self.request.getfixturevalue("server")
        return server.set(database=name)

    def _on_neon(self, owner: str, which: str = "first") -> sa.URL:
        """A database on the default branch of a project that belongs to one application."""
        if owner not in self.projects:
            made = self.projects[owner] = self.neon.client().project()
            self.undo.callback(made.client.delete, made.path)
        project = self.projects[owner]
        if which != "first":
            wanted = {"database": {"name": which, "owner_name": "neondb_owner"}}
            project.client.post(f"{project.path}/branches/{project.main}/databases", wanted)
            project.settle()
        found = sa.make_url(project.uri(database=which if which != "first" else "neondb"))
        return found.set(drivername="postgresql+psycopg")

    def variables(self, url: sa.URL) -> dict[str, str]:
        """How Neon is asked for the project that a database is in; nothing for a database that is elsewhere."""
        for project in self.projects.values():
            if (url.host, url.port) == (sa.make_url(project.uri()).host, sa.make_url(project.uri()).port):
                return {**self.neon.exported, "NEON_PROJECT_ID": project.id}
        return {}

    def serve(self, app: Flask, db: Any) -> Path:
        """Let an application of the kind `embedded` have its server."""
        folder: Path = self.request.getfixturevalue("brought_along")
        with app.app_context():
            for engine in db.engines.values():
                embedded.serve(engine, folder)
        return folder

    def clear(self, kind: str, branches: Branches, db: Any) -> None:
        """Take away what an application, in whose context this is called, has and has branched."""
        there = branches.databases
        if there.default.name == "neon":  # its project is deleted
            there.close()
            db.session.remove()
            for engine in db.engines.values():
                engine.dispose()
            return
        with suppress(DatabaseFailed):  # a test has named one that cannot be reached
            for each in there.all:
                for branch in each.backend.branches():
                    each.backend.delete(branch)
            there.sweep(dry_run=False)
        there.close()
        db.session.remove()
        for engine in db.engines.values():
            if engine.dialect.name == "postgresql":
                # Who may not do that has a database that is dropped as a whole.
                with suppress(sa.exc.DBAPIError), engine.begin() as connection:
                    for schema in sa.inspect(connection).get_schema_names():
                        if schema != "information_schema":
                            quoted = connection.dialect.identifier_preparer.quote(schema)
                            connection.exec_driver_sql(f"DROP SCHEMA {quoted} CASCADE")
                    connection.exec_driver_sql("CREATE SCHEMA public")
            engine.dispose()
            if kind in self.spare and engine.url not in self.spare[kind]:
                self.spare[kind].append(engine.url)


class Program(subprocess.Popen[str]):
    """A program that a test has started."""

    def says(self, word: str) -> None:
        """Wait for its next line, which has a word; where it has none, show what the program complains of."""
        assert self.stdout is not None
        line = self.stdout.readline()
        assert word in line, (line, self.communicate(timeout=60))


def models(db: Any, *, bind: bool) -> tuple[Any, Any]:
    """A table in the default database, and one in a bind where there is one."""

    class Note(db.Model):  # type: ignore[misc]
        id = orm.mapped_column(sa.Integer, primary_key=True)
        text = orm.mapped_column(sa.String(100), nullable=False)

    if not bind:
        return Note, None

    class Tag(db.Model):  # type: ignore[misc]
        __bind_key__ = "second"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        text = orm.mapped_column(sa.String(100))

    return Note, Tag


def bytes_of(branch: Branch) -> bytes:
    """All that a SQLite branch has on the disk."""
    return b"".join(path.read_bytes() for path in Path(branch.id).parent.glob(f"{Path(branch.id).name}*"))
