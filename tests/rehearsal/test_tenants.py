"""One database that ``env.py`` goes to several times: each tenant has a schema there, and a revision of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.branches.worlds import SQLITE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.rehearsal.histories import History

pytestmark = pytest.mark.skipif(SQLITE, reason="SQLite has no schemas")

ADD = "op.execute('ALTER TABLE note ADD COLUMN stars INT')"
DROP = "op.execute('ALTER TABLE note DROP COLUMN stars')"
_ENV = """
from alembic import context
from flask import current_app

db = current_app.extensions["migrate"].db
for tenant in ("a", "b"):
    with db.engine.connect() as connection:
        connection.detach()  # each in a session of its own
        connection.exec_driver_sql(f"SET search_path TO {tenant}")
        connection.commit()
        connection.dialect.default_schema_name = tenant
        context.configure(
            connection=connection, target_metadata=db.metadata, transaction_per_migration=True, tenant=tenant
        )
        with context.begin_transaction():
            context.run_migrations()
"""


@pytest.fixture
def tenants(history: History) -> Callable[..., History]:
    """Make two tenants, each at a revision."""

    def tenants(**revisions: str) -> History:
        (history.folder / "env.py").write_text(_ENV)
        for tenant, revision in revisions.items():
            history.run(f"CREATE SCHEMA {tenant}")
            history.run(f"CREATE TABLE {tenant}.note AS VALUES (1), (2)")
            history.run(f"CREATE TABLE {tenant}.alembic_version AS SELECT '{revision}' AS version_num")
        return history

    return tenants


@pytest.mark.parametrize(
    ("a", "b", "ran"), [("first", "first", ["r1", "r1"]), ("first", "r1", ["r1"]), ("r1", "first", ["r1"])]
)
def test_tenants_may_be_at_different_revisions(tenants: Callable[..., History], a: str, b: str, ran: list[str]) -> None:
    """Each goes to the same; the way back is not tried, rather than told wrongly, and that is said."""
    history = tenants(a=a, b=b)
    history.add(ADD, DROP)

    report = history.rehearse(undo=True, keep=True)

    assert (report.verdict, report.warnings) == ("safe", ())
    assert [(each.id, each.undo.state) for each in report.revisions] == [(each, "not tried") for each in ran]
    assert (set(report.current), report.target) == ({a, b}, ("r1",))
    (said,) = (each for each in report.not_shown if each.startswith("The way back"))
    assert "env.py goes to the default database more than once" in said


def test_nothing_is_said_of_a_way_back_that_nobody_asked_for(tenants: Callable[..., History]) -> None:
    """Nor of a single visit."""
    history = tenants(a="first", b="first")
    history.add(ADD, DROP)

    assert not any("The way back" in each for each in history.rehearse(undo=False).not_shown)


def test_what_a_tenant_loses_is_its_own(tenants: Callable[..., History]) -> None:
    """What was measured of the one is not told of the other."""
    history = tenants(a="first", b="first")
    history.add("if op.get_context().opts['tenant'] == 'b':\n    op.execute('DELETE FROM note WHERE column1 = 1')")
    history.add("if op.get_context().opts['tenant'] == 'a':\n    op.execute('DELETE FROM note')")

    report = history.rehearse()

    found = [(each.id, [(rows.table, rows.before, rows.after) for rows in each.rows]) for each in report.revisions]
    assert found == [("r1", []), ("r2", [("a.note", 2, 0)]), ("r1", [("b.note", 2, 1)]), ("r2", [])]
    assert all(each.wal is not None and each.wal.size > 0 for each in report.revisions)
    assert report.status == 1


def test_the_models_are_compared_with_each_tenant(tenants: Callable[..., History]) -> None:
    """One after the other."""
    history = tenants(a="r1", b="r1")
    history.add("pass")

    report = history.rehearse(drift=True)

    assert report.differences is not None
    assert {f"{tenant}.note.column1" in str(report.differences) for tenant in ("a", "b")} == {True}


_DETACH = "connection.detach()"
_OPENED = "with db.engine.connect() as connection:"
_ONE = _ENV.replace(_OPENED, "if True:").replace(_DETACH, "pass")
_ONE = _ONE.replace("for ", "connection = db.engine.connect()\nfor ")


@pytest.mark.parametrize(
    "env", [_ENV, _ENV.replace(_DETACH, "pass"), f"{_ONE}connection.close()"], ids=["own", "pooled", "one"]
)
def test_what_a_tenant_locks_is_its_own(tenants: Callable[..., History], env: str) -> None:
    """Also where one session goes from one tenant to the next; each revision commits once."""
    history = tenants(a="first", b="first")
    (history.folder / "env.py").write_text(env)
    history.add(f"{ADD}; op.execute('SELECT pg_sleep(0.3)')")
    history.add("op.execute('SELECT pg_sleep(0.3)')")

    report = history.rehearse()

    found = [(each.id, [lock.object for lock in each.locks if lock.existed]) for each in report.revisions]
    assert found == [("r1", ["a.note"]), ("r2", []), ("r1", ["b.note"]), ("r2", [])]
    assert [each.revisions for each in report.transactions] == [("r1",), ("r2",), ("r1",), ("r2",)]
    assert (report.warnings, report.shared_transaction) == ((), False)
