"""What the models are not compared by, and how that is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from tests.branches.worlds import SQLITE
from tests.rehearsal.drifting import differences
from tests.rehearsal.histories import History
from tests.rehearsal.seen import at_work

from flask_branches import DatabaseFailed
from flask_branches.backends import postgres_server
from flask_branches.rehearsal import drift as drifting
from flask_branches.rehearsal.drift import Drift, drift
from flask_branches.rehearsal.grounds import Grounds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.branches.worlds import Client, World
    from tests.rehearsal.drifting import Drifted


NOTE, AWAY = ("note", "away") if SQLITE else ("public.note", "public.away")
on_postgres = pytest.mark.skipif(SQLITE, reason="a rule of Postgres")


def _configured(history: History, options: str) -> None:
    env = history.folder / "env.py"
    env.write_text(env.read_text().replace("context.configure(", f"context.configure({options}, "))


@pytest.mark.parametrize("filter_", ["include_object=lambda _1, name, *_: ", "include_name=lambda name, *_: "])
def test_what_env_py_leaves_out_is_no_drift(history: History, drifted: Drifted, filter_: str) -> None:
    """Tables, columns, indexes and constraints; of names, those that the database has."""
    _configured(history, f"{filter_}name not in {{'more', 'ix', 'ck', 'text', 'away'}}")
    sa.Table("away", history.world.db.metadata, sa.Column("id", sa.Integer, primary_key=True))
    statements = ["CREATE TABLE more (id INTEGER)", "CREATE INDEX ix ON note (text)"]
    if not SQLITE:
        statements += [
            "ALTER TABLE note ADD CONSTRAINT ck CHECK (id > 0)",
            "ALTER TABLE note ALTER text SET DEFAULT ''",
        ]

    found = differences(drifted(*statements))

    left = [] if "object" in filter_ else [("models", f"the table {AWAY}"), ("models", f"the column {NOTE}.text")]
    assert found == left


@on_postgres
def test_a_table_that_env_py_leaves_out_is_not_compared_at_all(history: History, drifted: Drifted) -> None:
    """Whatever is in it."""
    _configured(history, "include_object=lambda _1, name, kind, *_: kind != 'table' or name != 'note'")

    assert differences(drifted("ALTER TABLE note ADD CHECK (id > 0), ALTER text DROP NOT NULL")) == []


def test_what_a_hook_of_env_py_takes_out_is_no_drift(history: History, drifted: Drifted) -> None:
    """As Alembic's own recipe has it, which asks for the command's options."""
    _configured(
        history, "process_revision_directives=lambda it, _, found: it.config.cmd_opts.autogenerate and found.clear()"
    )

    assert differences(drifted("CREATE TABLE more (id INTEGER)")) == []


@pytest.mark.parametrize(
    ("old", "new", "note"),
    [
        ("target_metadata=db.metadata", "target_metadata=None", "does not provide a MetaData object"),
        ("with db.engine", "raise KeyError('odd')\nwith db.engine", "KeyError: 'odd'"),
    ],
)
def test_what_cannot_be_compared_is_said(history: History, drifted: Drifted, old: str, new: str, note: str) -> None:
    """And is not taken for what agrees."""
    env = history.folder / "env.py"
    env.write_text(env.read_text().replace(old, new))

    seen = drifted()

    assert seen.differences is None
    assert note in seen.notes[-1]
    assert "\n" not in seen.notes[-1]


def test_models_are_newer_than_an_older_revision(history: History, drifted: Drifted) -> None:
    """So there is nothing to compare them with."""
    history.add("pass", id="newer")

    note = "The models were not compared: the database is at first, and there are newer revisions."
    assert drifted() == Drift(None, (note,))


@on_postgres
def test_models_that_need_more_are_compared_by_alembic_alone(history: History, drifted: Drifted) -> None:
    """Their tables cannot be made in an empty database, and that is told."""
    column = sa.Column("id", sa.Integer, server_default=sa.text("nothing()"))
    sa.Table("thing", history.world.db.metadata, column)

    seen = drifted("ALTER TABLE note ADD CHECK (id > 0)")

    assert differences(seen) == [("models", "the table public.thing")]
    assert seen.notes[0].startswith(
        "The models' tables cannot be made in an empty database (function nothing() does not exist), so the models'"
    )


@on_postgres
def test_a_role_that_may_make_no_database_is_told(
    make_world: Callable[..., World], tmp_path: Path, new_database: Callable[..., sa.URL], role: str, admin: Client
) -> None:
    """What Alembic finds is found all the same."""
    admin.run(f"ALTER ROLE {role} CREATEDB")
    url = new_database("narrow", f"OWNER {role}").set(username=role)
    world = make_world("server", url=url)
    History(world, tmp_path / "migrations").run("ALTER TABLE note ADD stars INTEGER, ADD CHECK (id > 0)")

    with at_work(world) as (branch, migrations), Grounds(world.branches.databases, branch) as grounds:
        admin.run(f"ALTER ROLE {role} NOCREATEDB")
        seen = drift(migrations, grounds)
        admin.run(f"ALTER ROLE {role} CREATEDB")

    assert differences(seen) == [("database", "the column public.note.stars")]
    (note,) = seen.notes
    assert note.startswith("The role may not make an empty database, so the models' constraints, defaults and enums")


@on_postgres
def test_what_was_made_to_compare_is_found_by_its_record(
    history: History, drifted: Drifted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all was killed before it could be dropped."""
    killed = SimpleNamespace(**vars(postgres_server) | {"drop": lambda *_: None})
    monkeypatch.setattr(drifting, "server", killed)
    drifted()

    (left,) = history.world.branches.list()
    assert left.name.startswith("drift_")
    assert left.expires_at is not None
    history.world.branches.delete(left.name)


@on_postgres
def test_a_connection_that_is_lost_is_an_error(history: History, drifted: Drifted) -> None:
    """And not a note."""
    env = history.folder / "env.py"
    ending = "connection.exec_driver_sql('SELECT pg_terminate_backend(pg_backend_pid())')"
    env.write_text(env.read_text().replace("    context.configure", f"    {ending}\n    context.configure"))

    with pytest.raises(DatabaseFailed, match=r"^The server at .* (refused|cannot be reached)"):
        drifted()
