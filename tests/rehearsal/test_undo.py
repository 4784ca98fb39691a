"""Revisions undone and done again: what comes back, what does not, and who is to blame."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import pytest
from tests.branches.worlds import SQLITE
from tests.rehearsal.histories import USUAL, History
from tests.rehearsal.seen import Seen, at_work

from flask_branches import DatabaseFailed
from flask_branches.rehearsal import rows
from flask_branches.rehearsal.undoing import round_trip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.branches.worlds import World

    from flask_branches.rehearsal.observed import Undo

    Tables = dict[str | None, list[str]]
    Add = Callable[..., None]
    Tried = Callable[..., dict[str, Undo]]

NOTE = "note" if SQLITE else "public.note"
ADD = "op.add_column('note', sa.Column('stars', sa.Integer))"


def _dropping(column: str) -> str:
    return f"with op.batch_alter_table('note') as table:\n    table.drop_column({column!r})"


DROP = _dropping("stars")


@pytest.fixture
def add(history: History) -> Add:
    """Write a revision after the last one, or after others; None for a downgrade leaves the function out."""

    def add(name: str, upgrade: str, downgrade: str | None = "pass", after: Any = None) -> None:
        history.add(upgrade, downgrade or "pass", id=name, down=after)
        if downgrade is None:
            path = history.folder / "versions" / f"{name}.py"
            path.write_text(path.read_text().partition("def downgrade")[0])

    return add


@pytest.fixture
def tried(history: History) -> Callable[..., dict[str, Undo]]:
    """Run what is pending on a branch, where every revision is said to have written to the notes, and undo it."""

    def tried(*, before: bool = False, see: Callable[[Seen], object] = lambda _: None) -> dict[str, Undo]:
        with at_work(history.world) as (branch, migrations):
            seen = Seen(branch)
            migrations.upgrade("heads", seen)
            tables: dict[str, Tables] = {each.revision: {None: [NOTE]} for each in seen.revisions}
            contents = seen.contents if before else None
            found = round_trip(migrations, seen.revisions, seen.schemas, tables, seen.connect, contents=contents)
            see(seen)
            return found

    return tried


def _states(found: dict[str, Undo]) -> dict[str, str]:
    return {revision: undo.state for revision, undo in found.items()}


def test_what_comes_back_is_the_same(add: Add, tried: Tried) -> None:
    """The whole way down and up again; afterwards the branch is at the newest revision."""
    add("stars", ADD, DROP)
    add("index", "op.create_index('ix', 'note', ['text'])", "op.drop_index('ix', 'note')")

    seen: list[str] = []
    found = tried(see=lambda there: seen.append(there.look()[None]))

    assert found["index"].detail == found["stars"].detail == ""
    assert _states(found) == {"stars": "same", "index": "same"}
    assert "ix" in seen[0]


@pytest.mark.parametrize(
    ("downgrade", "state", "said"),
    [
        (None, "missing", "it has no function downgrade"),
        ("raise NotImplementedError", "missing", "NotImplementedError"),
        (
            "raise RuntimeError('This migration is irreversible.')",
            "missing",
            "RuntimeError: This migration is irreversible.",
        ),
        ("raise KeyError('odd')", "failed", "KeyError: 'odd'"),
        ("op.execute('SELECT * FROM nowhere')", "failed", "nowhere"),
        ("pass", "differs", "its downgrade changes nothing"),
    ],
)
def test_a_revision_that_is_not_undone_is_named(
    add: Add, tried: Tried, downgrade: str | None, state: str, said: str
) -> None:
    """What is older is not tried; what is newer is done again."""
    add("older", "op.create_index('ix', 'note', ['text'])", "op.drop_index('ix', 'note')")
    add("stars", ADD, downgrade)
    add("newer", "op.create_table('more', sa.Column('id', sa.Integer))", "op.drop_table('more')")

    seen: list[str] = []
    found = tried(see=lambda there: seen.append(there.look()[None]))

    assert said in found["stars"].detail
    assert "\n" not in found["stars"].detail
    assert _states(found) == {"older": "not tried", "stars": state, "newer": "same"}
    if state == "differs":
        assert "+    stars integer" in found["stars"].diff
        assert "its upgrade fails" in found["stars"].detail
        assert found["newer"].detail == "it was not done again, since stars has not come back"
    else:
        assert found["newer"].detail == found["stars"].diff == ""
        assert "more" in seen[0]


def test_a_downgrade_that_stops_half_way_is_shown(add: Add, tried: Tried) -> None:
    """What it has left, and that nothing could be done again from there."""
    add("stars", f"{ADD}\nop.create_index('ix', 'note', ['stars'])", _HALF)
    add("newer", "op.create_table('more', sa.Column('id', sa.Integer))", "op.drop_table('more')")

    found = tried()

    assert found["stars"].state == "failed"
    assert [line for line in found["stars"].diff.splitlines() if "ix" in line and line.startswith("-")]
    assert found["newer"].detail == "it was not done again, since stars has not come back"


_HALF = """
with op.get_context().autocommit_block():
    op.drop_index('ix', 'note')
raise KeyError('odd')
"""


def test_another_schema_than_before_is_shown(add: Add, tried: Tried) -> None:
    """As a diff of what it should be."""
    add("stars", ADD, f"{DROP}\nop.create_index('ix', 'note', ['text'])")

    undo = tried()["stars"]

    assert undo.state == "differs"
    assert [line.lower() for line in undo.diff.splitlines() if line[0] in "+-"][2:] == [
        "+create index ix on note(text)" if SQLITE else "+create index ix on public.note using btree (text)"
    ]
    assert "its upgrade fails" not in undo.detail


def test_columns_in_another_order_are_no_difference(add: Add, tried: Tried) -> None:
    """Only where they stand has changed, and that is told; SQLite's table may have been typed anew."""
    add("stars", ADD, DROP)
    add("more", "op.add_column('note', sa.Column('more', sa.Integer))", _dropping("more"))
    add("gone", DROP, ADD)

    found = tried()

    assert _states(found) == dict.fromkeys(found, "same")
    assert found["gone"].detail == f"the columns of {NOTE} come in another order"
    assert found["stars"].detail == ""


def test_the_first_of_all_revisions_can_be_undone(history: History) -> None:
    """What is left then is Alembic's own table, which counts for nothing."""
    with at_work(history.world) as (branch, migrations):
        seen = Seen(branch)
        (first,) = (each for each in migrations._loaded().walk_revisions() if each.revision == "first")
        migrations.undo(first)
        with seen.connect(None) as connection:
            connection.exec_driver_sql("DROP TABLE alembic_version")
        seen = Seen(branch)
        migrations.upgrade("heads", seen)
        found = round_trip(migrations, seen.revisions, seen.schemas, {}, seen.connect)

    assert _states(found) == {"first": "same"}


@pytest.mark.skipif(SQLITE, reason="a rule of Postgres")
def test_an_extension_may_stay(history: History, add: Add, tried: Tried) -> None:
    """Others may use it; a type that stays keeps the upgrade from running again."""
    add("citext", "op.execute('CREATE EXTENSION IF NOT EXISTS citext')")
    add("mood", "op.execute(\"CREATE TYPE mood AS ENUM ('good')\")", "op.execute('SELECT 1')")

    found = tried()
    assert _states(found) == {"citext": "not tried", "mood": "differs"}
    assert "its upgrade fails" in found["mood"].detail

    (history.folder / "versions" / "mood.py").unlink()
    found = tried()
    assert _states(found) == {"citext": "same"}
    assert found["citext"].detail == "the extension citext stays"


def test_data_that_the_way_down_and_up_changes_is_named(add: Add, tried: Tried) -> None:
    """By the revision that loses it, and not again by those after it that have touched the same table."""
    add("text", "op.execute(\"UPDATE note SET text = text || '!'\")", "pass")
    add("stars", ADD, DROP)
    add("by_hand", "op.execute('UPDATE note SET stars = id')", "pass")

    found = tried()

    assert {revision: undo.lost for revision, undo in found.items()} == {
        "text": (f"{NOTE}.text: values have changed",),
        "stars": (f"{NOTE}.stars: 2 values",),
        "by_hand": (),
    }
    assert found["text"].detail == "its downgrade changes nothing: what it did to rows stays"
    assert found["stars"].detail == ""


def test_data_that_does_not_come_back_is_named(add: Add, tried: Tried) -> None:
    """Of what tables held before a revision, where that is known."""
    add("stars", f"{ADD}\nop.execute('UPDATE note SET stars = 5')", DROP)  # noqa: S608  a revision of this test's
    add("gone", DROP, ADD)
    add("shout", "op.execute('UPDATE note SET text = upper(text)')", "op.execute('UPDATE note SET text = lower(text)')")
    add("fewer", "op.execute(\"DELETE FROM note WHERE text = 'FIRST'\")", "pass")

    found = tried(before=True)

    assert {revision: undo.lost for revision, undo in found.items()} == {
        "stars": (),
        "gone": (f"{NOTE}.stars: 2 values",),
        "shout": (),
        "fewer": (f"{NOTE}: 1 row",),
    }


def test_a_table_that_was_not_compared_is_named(add: Add, tried: Tried, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is too large to be read twice; nothing is said about what its rows are."""
    add("text", "op.execute(\"UPDATE note SET text = text || '!'\")", "pass")
    monkeypatch.setattr(rows, "digest", lambda _, tables, **_keep: dict.fromkeys(tables))

    found = tried(before=True)

    assert found["text"].detail == f"the values of {NOTE} were not compared"


def _merged(add: Add) -> None:
    add("left", ADD, DROP, after="first")
    add("right", "op.create_index('ix', 'note', ['text'])", "op.drop_index('ix', 'note')", after="first")
    add("far", "op.create_table('more', sa.Column('id', sa.Integer))", "op.drop_table('more')", after="right")
    add("merged", "pass", "pass", after=("left", "far"))


@pytest.mark.parametrize("newest", ["merged", "later", None])
def test_merges_and_branches_are_undone_one_by_one(
    history: History, add: Add, tried: Tried, newest: str | None
) -> None:
    """Each step undoes one revision, and never another that lies beside it."""
    _merged(add)
    if newest == "later":
        add("later", "op.create_index('more_ix', 'more', ['id'])", "op.drop_index('more_ix', 'more')")
    if newest is None:
        (history.folder / "versions" / "merged.py").unlink()

    found = tried()

    assert _states(found) == dict.fromkeys(found, "same")
    assert {undo.detail for undo in found.values()} <= {"", "its downgrade changes nothing: what it did to rows stays"}
    assert len(found) == 3 + (newest is not None) + (newest == "later")


def test_every_database_of_an_application_counts(make_world: Callable[..., World], tmp_path: Path) -> None:
    """What differs in one of them is told with its bind key."""
    both = History(make_world(USUAL, binds=True), tmp_path / "migrations")
    both.world.db.session.remove()
    both.add(
        "op.add_column(op.get_context().opts['table'], sa.Column('stars', sa.Integer))",
        f"if op.get_context().opts['table'] == 'note':\n{textwrap.indent(DROP, '    ')}",
        id="stars",
    )
    with at_work(both.world) as (branch, migrations):
        seen = Seen(branch)
        migrations.upgrade("heads", seen)
        schemas = [seen.schemas[0], seen.look()]
        found = round_trip(migrations, seen.revisions[-1:], schemas, {}, seen.connect)

    assert found["stars"].state == "differs"
    assert "--- expected (second)" in found["stars"].diff
    assert "(main)" not in found["stars"].diff


@pytest.mark.skipif(SQLITE, reason="a rule of Postgres")
def test_a_connection_that_is_lost_is_an_error(add: Add, tried: Tried) -> None:
    """And not the migration's fault."""
    add("stars", ADD, "op.execute('SELECT pg_terminate_backend(pg_backend_pid())')")

    with pytest.raises(DatabaseFailed, match=r"^The server at .* (refused|cannot be reached)"):
        tried()
