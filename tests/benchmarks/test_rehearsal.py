"""What it costs to watch migrations, and how true their locks are beside what somebody else has to wait."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
from tests.benchmarks import waiting
from tests.rehearsal.corpus.application import application
from tests.rehearsal.corpus.case import Case, Truth
from tests.rehearsal.corpus.databases import serving

from flask_branches.migrating import migrate
from flask_branches.rehearsal import rehearse
from flask_branches.rehearsal.migrations import Migrations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask
    from tests.rehearsal.corpus.databases import Server

    from flask_branches import Branches
    from flask_branches.rehearsal import Report

pytestmark = pytest.mark.benchmark

_ROWS = 1_000_000
_BATCH = """
for first in range(1, 3000 * ROWS, ROWS):
    connection.execute(
        sa.text("UPDATE big SET stars = stars + 1 WHERE id BETWEEN :first AND :last"),
        {"first": first, "last": first + ROWS - 1},
    )
"""
_DDL = """
op.add_column("big", sa.Column("asked_by", sa.Integer))
op.create_check_constraint("big_stars", "big", "stars > 0")
op.alter_column("big", "stars", type_=sa.BigInteger)
op.create_foreign_key("big_author", "big", "author", ["author_id"], ["id"])
op.alter_column("big", "author_id", nullable=False)
op.create_index("big_author", "big", ["author_id"])
op.drop_column("big", "note")
"""
_SMALL_DDL = """
for number in range(200):
    op.add_column("author", sa.Column(f"extra_{number}", sa.Integer))
"""


def _backfill(rows: int, *, committed: bool = False) -> str:
    batch = _BATCH.replace("ROWS", str(rows))
    if not committed:
        return f"connection = op.get_bind(){batch}"
    inside = "\n    ".join(f"connection = op.get_bind(){batch}".splitlines())
    return f"with op.get_context().autocommit_block():\n    {inside}"


# What is run, and how often each way.
_WORK = {
    "seven changes of the schema": (_DDL, 7),
    "3,000 updates of 300 rows": (_backfill(300), 5),
    "3,000 updates of 3 rows": (_backfill(3), 11),
    "3,000 updates of 3 rows, each committed": (_backfill(3, committed=True), 11),
    "200 columns for a small table": (_SMALL_DDL, 11),
}


@dataclass(frozen=True)
class Felt:
    """A migration that keeps somebody waiting, and who that is."""

    upgrade: str
    what: str
    statement: str


_READ = "SELECT title FROM big WHERE id = 1"
_WRITE = "UPDATE big SET title = title WHERE id = 1"
_WAITS = {
    "a table rewritten": Felt('op.alter_column("big", "stars", type_=sa.BigInteger)', "reads", _READ),
    "a table rewritten, and the same for writers": Felt(
        'op.alter_column("big", "stars", type_=sa.BigInteger)', "writes", _WRITE
    ),
    "an index built": Felt('op.create_index("big_stars", "big", ["stars"])', "writes", _WRITE),
    "a foreign key": Felt(
        'op.create_foreign_key("big_author", "big", "author", ["author_id"], ["id"])',
        "writes",
        "UPDATE author SET name = name WHERE id = 1",
    ),
    "rows written under a lock": Felt(
        """
        op.add_column("big", sa.Column("extra", sa.Integer))
        op.execute("UPDATE big SET extra = 1 WHERE id % 4 = 0")
        """,
        "reads",
        _READ,
    ),
    "several statements in one execute": Felt(
        """
        op.execute("SELECT count(*) FROM big; ALTER TABLE big ADD COLUMN extra integer;"
                   " UPDATE big SET extra = 1 WHERE id % 4 = 0")
        """,
        "reads",
        _READ,
    ),
    "a lock taken late in a statement": Felt(
        """
        op.execute("DO $$ BEGIN PERFORM pg_sleep(1); ALTER TABLE big ADD COLUMN extra integer; PERFORM pg_sleep(0.5);"
                   " END $$")
        """,
        "reads",
        _READ,
    ),
    "VACUUM FULL": Felt(
        """
        with op.get_context().autocommit_block():
            op.execute("VACUUM FULL big")
        """,
        "reads",
        _READ,
    ),
    "200 columns added, one by one": Felt(_SMALL_DDL, "writes", "UPDATE author SET name = name WHERE id = 1"),
    "a column added": Felt('op.add_column("big", sa.Column("extra", sa.Integer))', "reads", _READ),
}
# The client is there before anything is locked.
_UNTIL_THERE = """
op.execute(
    "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = '{name}' AND query <> '') LOOP"
    " PERFORM pg_sleep(0.01), pg_stat_clear_snapshot(); END LOOP; END $$"
)
"""


@pytest.fixture(scope="module")
def server(kind: str) -> Iterator[Server]:
    """A server with a table of a million rows."""
    if kind != "postgres":
        pytest.skip("SQLite's migrations are not watched")
    with serving(_ROWS) as made:
        yield made


@pytest.mark.parametrize("name", _WORK)
def test_a_migration_takes_as_long_when_it_is_watched(
    name: str, server: Server, tmp_path: Path, medians: Callable[..., dict[str, float]], ratio: Any
) -> None:
    """Beside the same migration of an equal branch by the same code, without anybody who looks; alone, and in all."""
    upgrade, rounds = _WORK[name]
    case = _case(upgrade)
    walls: dict[str, list[float]] = {"bare": [], "watched": []}
    with server.clone(case, "corpus") as url, application(url, case, tmp_path) as app:
        took = medians(
            rounds,
            bare=lambda: _timed(walls["bare"], lambda: _bare(app)),
            watched=lambda: _timed(walls["watched"], _watched),
        )
    ratio(f"{name}: watched to bare", took["bare"] * 1e3, took["watched"] * 1e3, "ms")
    bare, watched = (statistics.median(walls[each]) * 1e3 for each in ("bare", "watched"))
    ratio(f"{name}: the same with the branch, and what is looked at in between", bare, watched, "ms")


@pytest.mark.parametrize("name", _WAITS)
def test_somebody_waits_as_long_as_the_report_says(name: str, server: Server, tmp_path: Path, ratio: Any) -> None:
    """By another process, which comes again and again: on the branch itself, and on one where nobody watches."""
    felt = _WAITS[name]
    case = _case(_UNTIL_THERE.format(name=waiting.NAME) + dedent(felt.upgrade))
    with server.clone(case, "corpus") as url, application(url, case, tmp_path) as app:
        with _waiting(server, felt) as watched:
            told = _told(felt, rehearse(counts=False, drift=False, undo=False))
        branches: Branches = app.extensions["branches"]
        with _waiting(server, felt) as unwatched, branches.temporary("rehearsal-bare") as branch:
            migrate(app, branch)
    for where, waited in (("watched", watched[0]), ("unwatched", unwatched[0])):
        ratio(f"{name}, who {felt.what}: told to felt, {where} ({told - waited:+.0f} ms)", waited, told, "ms")


@contextmanager
def _waiting(server: Server, felt: Felt) -> Iterator[list[float]]:
    """Somebody who waits on the next branch; it is gone in the end of the block, which then has the milliseconds."""
    command = [sys.executable, str(Path(waiting.__file__)), server.conninfo, felt.statement]
    waited: list[float] = []
    client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    yield waited
    said, _ = client.communicate()
    waited.append(float(said))


def _told(felt: Felt, report: Report) -> float:
    assert report.failure is None, report.failure
    (table,) = (each for each in report.blocking if f" {each.table.removeprefix('public.')} " in felt.statement)
    return table.longest_read if felt.what == "reads" else table.longest_write


def _case(upgrade: str) -> Case:
    return Case("work", upgrade, "pass", Truth(), ())


def _bare(app: Flask) -> float:
    branches: Branches = app.extensions["branches"]
    with branches.temporary() as branch:
        began = time.perf_counter()
        migrate(app, branch)
        return time.perf_counter() - began


def _watched() -> float:
    """With every look in between, which a report's own figure leaves out."""
    took: list[float] = []
    upgrade = Migrations.upgrade

    def timed(*arguments: Any) -> None:
        began = time.perf_counter()
        upgrade(*arguments)
        took.append(time.perf_counter() - began)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Migrations, "upgrade", timed)
        report = rehearse(counts=False, drift=False, undo=False)
    assert report.failure is None, report.failure
    return took[0]


def _timed(walls: list[float], side: Callable[[], float]) -> float:
    """What a side says of itself; how long it took in all is noted."""
    began = time.perf_counter()
    said = side()
    walls.append(time.perf_counter() - began)
    return said
