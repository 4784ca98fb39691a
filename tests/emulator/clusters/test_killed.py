"""Kills at any moment: what was answered with success is there afterwards, what was half made is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.emulator.clusters.support import ask, copy, folder, new, play, processes
from tests.emulator.running import until

import local_postgres
import neon_emulator
from local_postgres import folders, locks
from local_postgres.account import default_account
from neon_emulator.engine import ClusterMissing, KnownCluster

if TYPE_CHECKING:
    from neon_emulator.clusters.clusters import Clusters

# Makes a root with a table and a note, says its name, writes to it for ever, and makes branches for ever, saying each
# one's name.
_SUPERVISOR = """
import asyncio, json, sys
from pathlib import Path
import psycopg
import local_postgres
from local_postgres.account import default_account
from neon_emulator.clusters.clusters import Clusters

async def write(conninfo):
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as session:
        while True:
            [number] = await (await session.execute("INSERT INTO note DEFAULT VALUES RETURNING id")).fetchone()
            print(json.dumps({"note": number}), flush=True)

async def main():
    account = default_account()
    clusters = Clusters(Path(sys.argv[1]), local_postgres.find_binaries(account), account)
    await clusters.adopt([])
    made = await clusters.new(owner="neondb_owner", verifier=sys.argv[2], database="neondb")
    await clusters.acquire(made.cluster)
    conninfo = clusters.conninfo(made.cluster, "neondb")
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as session:
        await session.execute("CREATE TABLE note (id serial PRIMARY KEY)")
        await session.execute("INSERT INTO note DEFAULT VALUES")
    print(json.dumps({"note": 1}), flush=True)
    print(json.dumps({"root": made.cluster}), flush=True)
    writing = asyncio.create_task(write(conninfo))
    while True:
        branch = await clusters.branch(made.cluster, at=None, verifiers={}, history=False)
        print(json.dumps({"branch": branch.cluster}), flush=True)
        if len(sys.argv) > 3:
            await clusters.acquire(branch.cluster)

asyncio.run(main())
"""


def _killed_after(home: Path, branches: int, *more: str) -> list[dict[str, object]]:
    """What a supervisor has said until it was killed, right after it had said so many branches' names."""
    path = os.pathsep.join([str(Path(neon_emulator.__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", _SUPERVISOR, home, "SCRAM-SHA-256$4096:QUFBQQ==$QUFBQQ==:QUFBQQ==", *more],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(json.loads(line))
        if sum("branch" in word for word in said) == branches:
            break
    process.kill()
    said += [json.loads(line) for line in process.stdout.read().splitlines() if line.endswith("}")]
    process.wait()
    process.stdout.close()
    return said


def _names(said: list[dict[str, object]], kind: str) -> list[str]:
    return [str(word[kind]) for word in said if kind in word]


def _noted_before(said: list[dict[str, object]]) -> dict[str, int]:
    """How many notes were answered before each branch was asked for: when its root, or the branch before, was there."""
    found: dict[str, int] = {}
    notes = before = 0
    for word in said:
        notes += "note" in word
        if "branch" in word:
            found[str(word["branch"])] = before
        if "note" not in word:
            before = notes
    return found


@pytest.mark.parametrize("running", [False, True], ids=["stopped branches", "running branches"])
def test_a_killed_supervisor_leaves_servers_to_nobody_and_loses_nothing(running: bool) -> None:
    """Its servers end with it; the next one finds every branch and every row that was answered, and nothing else."""
    with folder() as home:
        said = _killed_after(home, 3, *(["run"] if running else []))
        [root] = _names(said, "root")
        branches = _names(said, "branch")

        async def story(clusters: Clusters) -> None:
            assert {path.name for path in clusters._workshop.folder.iterdir()} == {root, *branches}
            for cluster, notes in {root: len(_names(said, "note")), **_noted_before(said)}.items():
                found = await ask(clusters, cluster, "SELECT id FROM note ORDER BY id")
                assert len(found) >= notes >= 1
                assert found == list(range(1, len(found) + 1))
            await clusters.branch(root, at=None, verifiers={}, history=False)

        play(story, home, [KnownCluster(root, history=True), *(KnownCluster(each, history=False) for each in branches)])


def test_what_was_half_made_is_gone_and_only_that() -> None:
    """A folder that is not on record, one without data, and one that was being deleted are deleted at the start."""
    known: list[str] = []

    async def before(clusters: Clusters) -> None:
        made = await new(clusters)
        known.extend([made.cluster, await copy(clusters, made.cluster)])
        await copy(clusters, made.cluster)
        for name in ("half", "0123.gone-4567"):
            folders.make_private(clusters._workshop.folder / name, default_account())

    async def after(clusters: Clusters) -> None:
        assert {path.name for path in clusters._workshop.folder.iterdir()} == set(known)
        for cluster in known:
            assert await ask(clusters, cluster, "SELECT 1") == [1]

    with folder() as home:
        play(before, home)
        play(after, home, [KnownCluster(known[0], history=True), KnownCluster(known[1], history=False)])


def test_a_cluster_on_record_without_a_folder_is_named() -> None:
    """The emulator does not start on data that are not all there."""

    async def story(_: Clusters) -> None:
        raise AssertionError("it must not start")

    with folder() as home, pytest.raises(ClusterMissing, match=r"on record have no folder in .*: abcd"):
        play(story, home, [KnownCluster("abcd", history=False)])


def test_a_server_whose_supervisor_is_gone_is_ended() -> None:
    """Where a server outlives its supervisor, as on a system that does not end it, the next one ends it."""
    known: list[str] = []

    async def before(clusters: Clusters) -> None:
        known.append((await new(clusters)).cluster)

    async def after(clusters: Clusters) -> None:
        assert processes(home) == []
        assert await ask(clusters, known[0], "SELECT 1") == [1]

    with folder() as home:
        play(before, home)
        server = _outlive(home / "clusters" / known[0])
        play(after, home, [KnownCluster(known[0], history=True)])
        server.wait()


def _outlive(cluster: Path) -> subprocess.Popen[bytes]:
    """A server that nobody looks after, started as clusters start theirs."""
    account = default_account()
    lock = locks.try_lock(cluster / "server.lock")
    assert lock is not None
    program = local_postgres.find_binaries(account).tool("postgres")
    options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={cluster}", "-c", "archive_mode=off"]
    server = subprocess.Popen(
        [program, "-D", cluster / "data", *options],
        cwd="/",
        stderr=subprocess.DEVNULL,
        pass_fds=(lock,),
        start_new_session=True,
        user=account.uid,
        group=account.gid,
        extra_groups=None if account.is_own else [],
    )
    os.close(lock)
    until(lambda: server.poll() is not None or _is_ready(cluster / "data" / "postmaster.pid"))
    assert server.poll() is None
    return server


def _is_ready(pid_file: Path) -> bool:
    try:
        return pid_file.read_text().endswith("ready   \n")
    except FileNotFoundError:
        return False
