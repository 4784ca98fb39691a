"""Revisions undone and done again: what comes back, what does not, and who is to blame."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest
from tests.branches.worlds import SQLITE
from tests.rehearsal.histories import Seen

from flask_branches import DatabaseFailed
from flask_branches.rehearsal import rows
from flask_branches.rehearsal.undoing import round_trip

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.rehearsal.histories import History

    from flask_branches.rehearsal.report import Undo

    Tables = dict[str | None, list[str]]
    MakeHistory = Callable[..., History]

NOTE = "note" if SQLITE else "public.note"
ADD = "op.add_column('note', sa.Column('stars', sa.Integer))"


def _dropping(column: str) -> str:
    return f"with op.batch_alter_table('note') as table:\n    table.drop_column({column!r})"


DROP = _dropping("stars")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Flask-Migrate's env.py


@pytest.fixture
def apart(history: MakeHistory) -> History:
    """A history in which each revision has a transaction of its own."""
    return history(transaction_per_migration=True)


def _tried(history: History, *, before: bool = False) -> dict[str, Undo]:
    """Run what is pending on a new branch, where every revision has touched the table of notes, and undo it."""
    with history.at_work() as (branch, migrations):
        seen = Seen(branch, holds=before)
        migrations.upgrade("heads", seen)
        seen.schemas[-1] = seen.look()
        tables: dict[str, Tables] = {each.revision: {None: [NOTE]} for each in seen.revisions}
        return round_trip(migrations, seen.revisions, seen.schemas, tables, seen.connect, contents=seen.contents)


def _states(found: dict[str, Undo]) -> dict[str, str]:
    return {revision: undo.state for revision, undo in found.items()}


def test_what_comes_back_is_the_same(apart: History) -> None:
    """The whole way down and up again; afterwards the branch is at the newest revision."""
    apart.add("stars", ADD, DROP)
    apart.add("index", "op.create_index('ix', 'note', ['text'])", "op.drop_index('ix', 'note')")

    found = _tried(apart)

    assert found["index"].detail == found["stars"].detail == ""
    assert _states(found) == {"stars": "same", "index": "same"}
    branch = apart.world.branches.list()[0]
    assert "ix" in Seen(branch).look()[None]


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
def test_a_revision_that_is_not_undone_is_named(apart: History, downgrade: str | None, state: str, said: str) -> None:
    """What is older is not tried; what is newer is done again."""
    apart.add("older", "op.create_index('ix', 'note', ['text'])", "op.drop_index('ix', 'note')")
    apart.add("stars", ADD, downgrade)
    apart.add("newer", "op.create_table('more', sa.Column('id', sa.Integer))", "op.drop_table('more')")

    found = _tried(apart)

    assert said in found["stars"].detail
    assert "\n" not in found["stars"].detail
    assert _states(found) == {"older": "not tried", "stars": state, "newer": "same"}
    if state == "differs":
        assert "+    stars integer" in found["stars"].diff
        assert "its upgrade fails" in found["stars"].detail
        assert found["newer"].detail == "it was not done again, since stars has not come back"
    else:
        assert found["newer"].detail == found["stars"].diff == ""
        assert "more" in Seen(apart.world.branches.list()[0]).look()[None]


def test_another_schema_than_before_is_shown(apart: History) -> None:
    """As a diff of what it should be."""
    apart.add("stars", ADD, f"{DROP}\nop.create_index('ix', 'note', ['text'])")

    undo = _tried(apart)["stars"]

    assert undo.state == "differs"
    assert [line.lower() for line in undo.diff.splitlines() if line[0] in "+-"][2:] == [
        "+create index ix on note(text)" if SQLITE else "+create index ix on public.note using btree (text)"
    ]
    assert "its upgrade fails" not in undo.detail


def test_columns_in_another_order_are_no_difference(apart: History) -> None:
    """Only where they stand has changed, and that is told; SQLite's table may have been typed anew."""
    apart.add("stars", ADD, DROP)
    apart.add("more", "op.add_column('note', sa.Column('more', sa.Integer))", _dropping("more"))
    apart.add("gone", DROP, ADD)

    found = _tried(apart)

    assert _states(found) == dict.fromkeys(found, "same")
    assert found["gone"].detail == f"the columns of {NOTE} come in another order"
    assert found["stars"].detail == ""


def test_the_first_of_all_revisions_can_be_undone(apart: History) -> None:
    """What is left then is Alembic's own table, which counts for nothing."""
    with apart.at_work() as (branch, migrations):
        seen = Seen(branch)
        migrations.downgrade("base", seen)
        with seen.connect(None) as connection:
            connection.exec_driver_sql("DROP TABLE alembic_version")
        seen = Seen(branch)
        migrations.upgrade("heads", seen)
        found = round_trip(migrations, seen.revisions, seen.schemas, {}, seen.connect)

    assert _states(found) == {"first": "same"}


@pytest.mark.skipif(SQLITE, reason="a rule of Postgres")
def test_an_extension_may_stay(apart: History) -> None:
    """Others may use it; a type that stays keeps the upgrade from running again."""
    apart.add("citext", "op.execute('CREATE EXTENSION IF NOT EXISTS citext')")
    apart.add("mood", "op.execute(\"CREATE TYPE mood AS ENUM ('good')\")", "op.execute('SELECT 1')")

    found = _tried(apart)
    assert _states(found) == {"citext": "not tried", "mood": "differs"}
    assert "its upgrade fails" in found["mood"].detail

    (apart.folder / "versions" / "mood_.py").unlink()
    apart.world.branches.delete(apart.world.branches.list()[0].name)
    found = _tried(apart)
    assert _states(found) == {"citext": "same"}
    assert found["citext"].detail == "the extension citext stays"


def test_data_that_the_way_down_and_up_changes_is_named(apart: History) -> None:
    """By the revision that loses it, and not again by those after it that have touched the same table."""
    apart.add("text", "op.execute(\"UPDATE note SET text = text || '!'\")", "pass")
    apart.add("stars", ADD, DROP)
    apart.add("by_hand", "op.execute('UPDATE note SET stars = id')", "pass")

    found = _tried(apart)

    assert {revision: undo.lost for revision, undo in found.items()} == {
        "text": (f"{NOTE}.text: values have changed",),
        "stars": (f"{NOTE}.stars: 2 values",),
        "by_hand": (),
    }
    assert found["text"].detail == "its downgrade changes nothing: what it did to rows stays"
    assert found["stars"].detail == ""


def test_data_that_does_not_come_back_is_named(apart: History) -> None:
    """Of what tables held before a revision, where that is known."""
    apart.add("stars", f"{ADD}\nop.execute('UPDATE note SET stars = 5')", DROP)  # noqa: S608  a revision of this test's
    apart.add("gone", DROP, ADD)
    apart.add(
        "shout", "op.execute('UPDATE note SET text = upper(text)')", "op.execute('UPDATE note SET text = lower(text)')"
    )
    apart.add("fewer", "op.execute(\"DELETE FROM note WHERE text = 'FIRST'\")", "pass")

    found = _tried(apart, before=True)

    assert {revision: undo.lost for revision, undo in found.items()} == {
        "stars": (),
        "gone": (f"{NOTE}.stars: 2 values",),
        "shout": (),
        "fewer": (f"{NOTE}: 1 row",),
    }


def test_a_table_that_was_not_compared_is_named(apart: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is too large to be read twice; nothing is said about what its rows are."""
    apart.add("text", "op.execute(\"UPDATE note SET text = text || '!'\")", "pass")
    monkeypatch.setattr(rows, "digest", lambda _, tables: dict.fromkeys(tables))

    found = _tried(apart, before=True)

    assert found["text"].detail == f"the values of {NOTE} were not compared"


@pytest.mark.skipif(SQLITE, reason="on SQLite Alembic runs none in a transaction")
def test_what_one_transaction_has_run_is_judged_together(history: MakeHistory) -> None:
    """What lies in between could not be seen; each is undone and done again by itself all the same."""
    together = history()
    together.add("one", ADD, DROP)
    together.add("two", "op.create_index('ix', 'note', ['stars'])", "op.drop_index('ix', 'note')")
    found = _tried(together)
    assert _states(found) == {"one": "same", "two": "same"}
    assert found["two"].detail == found["one"].detail == "seen for one, two together, since one transaction ran them"


@pytest.mark.skipif(SQLITE, reason="on SQLite Alembic runs none in a transaction")
@pytest.mark.parametrize(
    ("downgrade", "state", "said"),
    [
        ("pass", "differs", "seen for one, two together"),
        ("raise NotImplementedError", "not tried", "it was undone, but"),
    ],
)
def test_of_what_one_transaction_has_run_none_is_blamed_alone(
    history: MakeHistory, downgrade: str, state: str, said: str
) -> None:
    """The older one may be at fault; where that is not undone, nothing can be said of the newer."""
    together = history()
    together.add("one", ADD, downgrade)
    together.add("two", "op.create_index('ix', 'note', ['stars'])", "op.drop_index('ix', 'note')")

    found = _tried(together)

    assert found["one"].state == ("differs" if state == "differs" else "missing")
    assert found["two"].state == state
    assert said in found["two"].detail


def _merged(history: History) -> None:
    history.add("left", ADD, DROP, down="first")
    history.add("right", "op.create_index('ix', 'note', ['text'])", "op.drop_index('ix', 'note')", down="first")
    history.add("far", "op.create_table('more', sa.Column('id', sa.Integer))", "op.drop_table('more')", down="right")
    history.add("merged", "pass", "pass", down=("left", "far"))


@pytest.mark.parametrize("newest", ["merged", "later", None])
def test_merges_and_branches_are_undone_one_by_one(apart: History, newest: str | None) -> None:
    """Each step undoes one revision, and never another that lies beside it."""
    _merged(apart)
    if newest == "later":
        apart.add("later", "op.create_index('more_ix', 'more', ['id'])", "op.drop_index('more_ix', 'more')")
    if newest is None:
        (apart.folder / "versions" / "merged_.py").unlink()

    found = _tried(apart)

    assert _states(found) == dict.fromkeys(found, "same")
    assert {undo.detail for undo in found.values()} <= {"", "its downgrade changes nothing: what it did to rows stays"}
    assert len(found) == 3 + (newest is not None) + (newest == "later")


def test_every_database_of_an_application_counts(history: MakeHistory) -> None:
    """What differs in one of them is told with its bind key."""
    both = history(binds=True)
    both.add(
        "stars",
        "op.add_column('tag' if engine_name == 'second' else 'note', sa.Column('stars', sa.Integer))",
        f"if engine_name != 'second':\n{textwrap.indent(DROP, '    ')}",
    )

    undo = _tried(both)["stars"]

    assert undo.state == "differs"
    assert "--- expected (second)" in undo.diff
    assert "(main)" not in undo.diff


@pytest.mark.skipif(SQLITE, reason="a rule of Postgres")
def test_a_connection_that_is_lost_is_an_error(apart: History) -> None:
    """And not the migration's fault."""
    apart.add("stars", ADD, "op.execute('SELECT pg_terminate_backend(pg_backend_pid())')")

    with pytest.raises(DatabaseFailed, match=r"^The server at .* (refused|cannot be reached)"):
        _tried(apart)
