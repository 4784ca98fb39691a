"""New clusters: what is in them, who may do what, and what is known of one that does not run."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING

import psycopg
import pytest
from tests.emulator.clusters.support import (
    DATABASE,
    OTHER_VERIFIER,
    OWNER,
    VERIFIER,
    ask,
    client,
    copy,
    new,
    place,
    play,
    server_pid,
    until,
)

from local_postgres import folders
from local_postgres.account import default_account
from neon_emulator.clusters import initdb
from neon_emulator.engine import ClusterFailed, ClusterMissing

if TYPE_CHECKING:
    from pathlib import Path

    from neon_emulator.clusters.clusters import Clusters

_ATTRIBUTES = """
SELECT concat_ws(' ', rolname, rolsuper, rolcanlogin, rolcreatedb, rolcreaterole, rolbypassrls, rolreplication)
FROM pg_roles WHERE rolname IN ('neondb_owner', 'neon_superuser', 'cloud_admin') ORDER BY rolname
"""


def test_the_owner_is_no_superuser_and_has_the_rights_that_neon_gives() -> None:
    """The owner is a member of neon_superuser, and owns the database; only cloud_admin is a superuser."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        assert await ask(clusters, made.cluster, _ATTRIBUTES) == [
            "cloud_admin t t t t t t",
            "neon_superuser f f t t t t",
            "neondb_owner f t t t t t",
        ]
        for role in ("neon_superuser", "pg_monitor", "pg_read_all_data", "pg_write_all_data", "pg_signal_backend"):
            assert await ask(clusters, made.cluster, f"SELECT pg_has_role('{role}', 'MEMBER')") == [True]
        await ask(clusters, made.cluster, "CREATE TABLE note (id int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await ask(clusters, made.cluster, "ALTER ROLE neondb_owner SUPERUSER")

    play(story)


def test_what_is_made_is_said() -> None:
    """The answer names the role and the database with its OID, the size, and a position in the log."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        [oid] = await ask(clusters, made.cluster, "SELECT oid::int8 FROM pg_database WHERE datname = 'neondb'")
        assert [(role.name, role.login) for role in made.catalog.roles] == [(OWNER, True)]
        assert [(each.id, each.name, each.owner) for each in made.catalog.databases] == [(oid, DATABASE, OWNER)]
        assert made.catalog.size > 10_000_000
        assert await ask(clusters, made.cluster, f"SELECT pg_current_wal_insert_lsn() >= '{made.lsn}'") == [True]

    play(story)


def test_the_password_is_its_verifier() -> None:
    """A role's verifier is the one that was handed over; no log has it."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await clusters.acquire(made.cluster)
        assert await clusters.verifier(made.cluster, OWNER) == VERIFIER
        assert await clusters.verifier(made.cluster, "neon_superuser") is None
        assert await clusters.verifier(made.cluster, "cloud_admin") is None
        assert await clusters.verifier(made.cluster, "nobody's") is None
        assert "SCRAM" not in (place(clusters, made.cluster) / "log").read_text()

    play(story)


def test_a_statement_with_a_password_that_fails_is_not_logged() -> None:
    """What a client's failing statement says does not come into the server's log."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        wrong = f"DO $$BEGIN EXECUTE 'ALTER ROLE missing PASSWORD ''{OTHER_VERIFIER}'''; END$$"
        with pytest.raises(psycopg.Error):
            await ask(clusters, made.cluster, wrong)
        assert "SCRAM" not in (place(clusters, made.cluster) / "log").read_text()

    play(story)


def test_only_the_account_reaches_a_cluster() -> None:
    """Folders have mode 0700 and belong to the account that runs the servers."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        socket = await clusters.acquire(made.cluster)
        inside = place(clusters, made.cluster)
        for path in (inside.parent, inside, inside / "data", inside / "history", inside / "history" / "wal"):
            assert (path.stat().st_mode & 0o777, path.stat().st_uid) == (0o700, default_account().uid), path
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        assert await ask(clusters, made.cluster, "SHOW listen_addresses") == [""]

    play(story)


def test_a_cluster_that_cannot_be_made_leaves_nothing() -> None:
    """Where Postgres refuses the role, its words are in the error, and the folder is gone."""

    async def story(clusters: Clusters) -> None:
        with pytest.raises(ClusterFailed, match='role name "pg_mine" is reserved'):
            await clusters.new(owner="pg_mine", verifier=VERIFIER, database=DATABASE)
        await until(lambda: not any(clusters._workshop.folder.iterdir()))

    play(story)


def test_roles_and_databases_made_by_sql_are_in_the_catalog() -> None:
    """The catalog has what clients made, and not what belongs to Postgres or to the emulator."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await ask(clusters, made.cluster, "CREATE ROLE reader NOLOGIN")
        await ask(clusters, made.cluster, 'CREATE DATABASE "a b"')
        found = await clusters.catalog(made.cluster)
        assert [(role.name, role.login) for role in found.roles] == [(OWNER, True), ("reader", False)]
        assert [(each.name, each.owner) for each in found.databases] == [(DATABASE, OWNER), ("a b", OWNER)]

    play(story)


def test_a_stopped_cluster_is_not_started_for_its_catalog() -> None:
    """A cluster that was stopped in order, and a copy that never ran, answer without a start."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await ask(clusters, made.cluster, "CREATE ROLE reader NOLOGIN")
        branch = await copy(clusters, made.cluster)
        await clusters.acquire(made.cluster)
        await clusters.release(made.cluster, linger=0)
        for cluster in (made.cluster, branch):
            assert [role.name for role in (await clusters.catalog(cluster)).roles] == [OWNER, "reader"]
            assert clusters.running(cluster) is None

    play(story)


def test_a_killed_cluster_is_started_for_its_catalog() -> None:
    """What was known before a start does not count after it: a killed server's clients may have changed it."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await clusters.acquire(made.cluster)
        await clusters.release(made.cluster, linger=0)
        await ask(clusters, made.cluster, "CREATE ROLE reader NOLOGIN")
        os.kill(server_pid(clusters, made.cluster), signal.SIGKILL)
        await until(lambda: clusters.running(made.cluster) is None)
        assert [role.name for role in (await clusters.catalog(made.cluster)).roles] == [OWNER, "reader"]

    play(story)


def test_clusters_made_at_once_run_initdb_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts at the same time, on a machine that has no cached data yet, leave one folder in the cache."""

    async def story(clusters: Clusters) -> None:
        cache = folders.make_private(clusters._workshop.folder.parent / "cache", default_account())
        monkeypatch.setattr(initdb, "_cache_folder", lambda _: cache)
        made = await asyncio.gather(*(new(clusters) for _ in range(3)))
        assert len({each.cluster for each in made}) == 3
        [cached] = cache.iterdir()
        assert (cached.stat().st_mode & 0o777, (cached / "PG_VERSION").exists()) == (0o700, True)

    play(story)


def test_what_was_begun_for_the_cache_and_never_ended_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed emulator has left half made goes once it is old, any version's, and a young one may be at work."""

    async def story(clusters: Clusters) -> None:
        cache = folders.make_private(clusters._workshop.folder.parent / "cache", default_account())
        monkeypatch.setattr(initdb, "_cache_folder", lambda _: cache)
        await new(clusters)
        [cached] = cache.iterdir()
        young, old = f"{cached.name}.new-young", f"{cached.name}.new-old"
        for name, age in ((old, 7200), ("neon_emulator-initdb-other.new-old", 7200), (young, 60)):
            (cache / name).mkdir()
            os.utime(cache / name, (time.time() - age,) * 2)
        await new(clusters)
        assert {path.name for path in cache.iterdir()} == {cached.name, young}

    play(story)


def test_what_another_emulator_deletes_from_the_cache_at_the_same_time(tmp_path: Path) -> None:
    """What is found to be gone when it is looked at was deleted by somebody else, and is no trouble."""
    (tmp_path / "neon_emulator-initdb-one.new-gone").symlink_to(tmp_path / "missing")
    initdb._sweep(tmp_path)


def test_without_a_cache_initdb_runs_directly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where no cache can be written, a cluster is made all the same."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    async def story(clusters: Clusters) -> None:
        # Not before: the programs, too, may have to be copied to where root's servers can reach them.
        monkeypatch.setattr(folders, "_SHELTERS", ())
        made = await new(clusters)
        assert await ask(clusters, made.cluster, "SELECT 1") == [1]

    play(story)


def test_a_deleted_cluster_is_gone_at_once() -> None:
    """Its sessions end with 57P01, nobody finds it, its folder goes, and a second deletion does nothing."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        async with client(clusters, made.cluster) as session:
            await clusters.delete(made.cluster)
            with pytest.raises(psycopg.errors.AdminShutdown):
                await session.execute("SELECT 1")
        with pytest.raises(ClusterMissing, match=made.cluster):
            await clusters.acquire(made.cluster)
        assert not place(clusters, made.cluster).exists()
        await clusters.delete(made.cluster)
        await until(lambda: not any(clusters._workshop.folder.iterdir()))

    play(story)
