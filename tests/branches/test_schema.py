"""What of a Postgres schema a diff shows, beside what every kind of database has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.branches.worlds import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.branches.worlds import Client, World

    from flask_branches import Branch

    At = Callable[[str | Branch], Client]
    MakeWorld = Callable[..., World]

pytestmark = pytest.mark.skipif(not POSTGRES, reason="a schema of Postgres")

_MAIN = (
    "CREATE TABLE bare ();"
    "CREATE TABLE measured (id integer) PARTITION BY RANGE (id);"
    "CREATE TABLE measured_1 PARTITION OF measured FOR VALUES FROM (1) TO (5)"
)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (
            "CREATE DOMAIN mark AS integer NOT NULL DEFAULT 1 CHECK (VALUE > 0)",
            ["+DOMAIN public.mark AS integer NOT NULL DEFAULT 1 CONSTRAINT mark_check CHECK ((VALUE > 0))"],
        ),
        ("CREATE TYPE pair AS (a integer, b varchar(5))", ["+TYPE public.pair AS (a integer, b character varying(5))"]),
        ("ALTER TABLE note SET UNLOGGED", ["-TABLE public.note", "+UNLOGGED TABLE public.note"]),
        ("CREATE TABLE another ()", ["+TABLE public.another"]),
        ("CREATE TABLE heir () INHERITS (bare)", ["+TABLE public.heir INHERITS (public.bare)"]),
        ("ALTER TABLE note ENABLE ROW LEVEL SECURITY", ["+    ROW LEVEL SECURITY ENABLED"]),
        ("ALTER TABLE note FORCE ROW LEVEL SECURITY", ["+    ROW LEVEL SECURITY FORCED"]),
        (
            "CREATE POLICY own ON note FOR UPDATE USING (id = 1) WITH CHECK (id > 0)",
            ["+    POLICY own AS PERMISSIVE FOR UPDATE TO public USING ((id = 1)) WITH CHECK ((id > 0))"],
        ),
        (
            "CREATE TABLE measured_2 PARTITION OF measured DEFAULT",
            ["+TABLE public.measured_2 PARTITION OF public.measured DEFAULT", "+    id integer"],
        ),
        (
            "DROP TABLE measured_1; CREATE TABLE measured_1 PARTITION OF measured FOR VALUES FROM (1) TO (9)",
            [
                "-TABLE public.measured_1 PARTITION OF public.measured FOR VALUES FROM (1) TO (5)",
                "+TABLE public.measured_1 PARTITION OF public.measured FOR VALUES FROM (1) TO (9)",
            ],
        ),
        (
            "DROP TABLE measured_1, measured; CREATE TABLE measured (id integer) PARTITION BY HASH (id)",
            [
                "-TABLE public.measured PARTITION BY RANGE (id)",
                "+TABLE public.measured PARTITION BY HASH (id)",
                "-TABLE public.measured_1 PARTITION OF public.measured FOR VALUES FROM (1) TO (5)",
                "-    id integer",
            ],
        ),
    ],
)
def test_a_diff_shows_what_postgres_alone_has(make_world: MakeWorld, at: At, change: str, shown: list[str]) -> None:
    """In whatever lines the two differ; a copy differs in none."""
    world = make_world("server")
    with world.db.engine.begin() as connection:
        connection.exec_driver_sql(_MAIN)
    branch = world.branches.create("mine")
    at(branch).run(change)

    lines = [line for line in world.branches.diff("mine").splitlines() if line[0] in "+-"][2:]

    assert sorted(lines) == sorted(shown)
    world.branches.create("copy", parent="mine")
    assert world.branches.diff("copy") == ""
