"""Schemas without rows: made anew in another cluster, written down as text, and not waited for without end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.emulator.clusters.support import (
    DATABASE,
    OWNER,
    ask,
    client,
    copy,
    new,
    play,
)

from neon_emulator.clusters import schemas
from neon_emulator.engine import ClusterBusy, ClusterFailed

if TYPE_CHECKING:
    from neon_emulator.clusters.clusters import Clusters

_APP = "CREATE ROLE app LOGIN PASSWORD 'secret' IN ROLE neon_superuser"


def test_a_schema_without_rows_has_all_but_rows() -> None:
    """Roles with passwords and memberships, every database with its owner and schema come along; rows do not."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await ask(clusters, made.cluster, _APP, user="cloud_admin")
        await ask(clusters, made.cluster, "CREATE TABLE note (id serial PRIMARY KEY, text text)")
        await ask(clusters, made.cluster, "INSERT INTO note (text) VALUES ('hello')")
        await ask(clusters, made.cluster, 'CREATE DATABASE "o\'ther db"')
        await ask(clusters, made.cluster, "CREATE TABLE t ()", database="o'ther db")
        bare = await clusters.schema_only(made.cluster, at=None)
        assert {role.name for role in bare.catalog.roles} == {OWNER, "app"}
        held = {(each.name, each.owner) for each in bare.catalog.databases}
        assert held == {(DATABASE, OWNER), ("o'ther db", OWNER)}
        assert await ask(clusters, bare.cluster, "SELECT count(*) FROM note") == [0]
        assert await ask(clusters, bare.cluster, "SELECT count(*) FROM t", database="o'ther db") == [0]
        assert await ask(clusters, bare.cluster, "SELECT pg_has_role('app', 'neon_superuser', 'MEMBER')") == [True]
        await clusters.acquire(made.cluster)
        await clusters.acquire(bare.cluster)
        verifier = await clusters.verifier(made.cluster, "app")
        assert verifier is not None
        assert await clusters.verifier(bare.cluster, "app") == verifier
        assert (await clusters.window(bare.cluster)).start_lsn

    play(story)


def test_the_text_of_a_schema_is_the_same_for_the_same_schema() -> None:
    """What pg_dump writes differs only where schemas do."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await ask(clusters, made.cluster, "CREATE TABLE note (id int)")
        branch = await copy(clusters, made.cluster)
        before = await clusters.dump_schema(made.cluster, DATABASE)
        assert "CREATE TABLE public.note" in before
        assert await clusters.dump_schema(branch, DATABASE) == before
        await ask(clusters, branch, "ALTER TABLE note ADD text text")
        assert "text text" in await clusters.dump_schema(branch, DATABASE)

    play(story)


def test_a_database_that_there_is_not_has_no_schema() -> None:
    """The error of a schema that cannot be dumped has pg_dump's words."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        with pytest.raises(ClusterFailed, match='database "missing" does not exist'):
            await clusters.dump_schema(made.cluster, "missing")

    play(story)


def test_a_schema_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a client's open transaction that has locked a table, the error says what is in the way."""
    assert "--lock-wait-timeout=30s" in schemas._PG_DUMP
    monkeypatch.setattr(schemas, "_PG_DUMP", ("pg_dump", "--schema-only", "--lock-wait-timeout=50ms"))

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        async with client(clusters, made.cluster) as session, session.transaction():
            await session.execute("CREATE TABLE locked (n int)")
            await session.execute("COMMIT; BEGIN; LOCK TABLE locked")
            with pytest.raises(ClusterBusy, match="has locked a table for 30 s: end it, and try again"):
                await clusters.dump_schema(made.cluster, DATABASE)

    play(story)


def test_a_view_that_is_being_made_anew_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of views pg_dump has no limit of its own: it is ended, and the error says what it may have waited for."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        async with client(clusters, made.cluster) as session:
            await session.execute("CREATE VIEW seen AS SELECT 1 AS n")
            async with session.transaction():
                await session.execute("CREATE OR REPLACE VIEW seen AS SELECT 2 AS n")
                monkeypatch.setattr(schemas, "_SECONDS", 1.0)
                with pytest.raises(ClusterBusy, match="pg_dump has not ended in 1 s: end the client's transaction"):
                    await clusters.dump_schema(made.cluster, DATABASE)

    play(story)
