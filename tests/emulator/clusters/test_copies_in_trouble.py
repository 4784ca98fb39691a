"""Copies whose parent is deleted or killed, whose files vanish, and that are cancelled."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.emulator.clusters.support import (
    ask,
    copy,
    new,
    play,
    server_pid,
    trouble,
    until,
    until_copied,
)

from local_postgres import folders
from local_postgres.account import default_account
from neon_emulator.clusters import copying
from neon_emulator.clusters.commands import Finished
from neon_emulator.engine import ClusterFailed, ClusterMissing, Point

if TYPE_CHECKING:
    from pathlib import Path

    from neon_emulator.clusters.clusters import Clusters


def test_a_parent_is_deleted_only_after_its_copies_are_made() -> None:
    """A deletion waits for a copy that has begun, and refuses the next."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await ask(clusters, made.cluster, "CREATE TABLE note AS SELECT generate_series(1, 1000)")
        begun = asyncio.create_task(copy(clusters, made.cluster))
        await until_copied(clusters, made.cluster)
        deletion = asyncio.create_task(clusters.delete(made.cluster))
        await asyncio.sleep(0)
        with pytest.raises(ClusterMissing):
            await copy(clusters, made.cluster)
        assert await ask(clusters, await begun, "SELECT count(*) FROM note") == [1000]
        await deletion

    play(story)


@pytest.mark.parametrize("past", [False, True], ids=["head", "past"])
def test_a_parent_that_is_killed_while_it_is_copied_is_copied_again(past: bool) -> None:
    """The branch is made all the same, with all that was committed before it was asked for."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await ask(clusters, made.cluster, "CREATE TABLE note AS SELECT generate_series(1, 1000)")
        await clusters.acquire(made.cluster)
        at = Point(time=datetime.now(UTC)) if past else None
        begun = asyncio.create_task(copy(clusters, made.cluster, at=at))
        await until_copied(clusters, made.cluster)
        os.kill(server_pid(clusters, made.cluster), signal.SIGKILL)
        branch = await begun
        assert await ask(clusters, branch, "SELECT count(*) FROM note") == [1000]
        assert trouble(clusters, branch) == []

    play(story)


def test_a_file_that_is_replaced_while_it_is_copied_is_in_the_copy() -> None:
    """Servers write some files anew and rename them: the copy has the old one or the new, never none."""

    async def story(clusters: Clusters) -> None:
        account = default_account()
        source, target = (folders.make_private(clusters._workshop.folder / name, account) for name in ("a", "b"))
        folders.make_private(source / "base", account)
        ending = asyncio.Event()

        async def churn() -> None:
            while not ending.is_set():
                for number in range(50):
                    (source / "base" / "new").write_text("whole")
                    (source / "base" / "new").rename(source / "base" / f"{number}")
                await asyncio.sleep(0)

        task = asyncio.create_task(churn())
        await until((source / "base" / "49").exists)
        for _ in range(10):
            await copying.copy_changing(source, ["base"], target, account)
            assert all((target / "base" / f"{number}").read_text() == "whole" for number in range(50))
        ending.set()
        await task
        for path in (source, target):
            await clusters._workshop.remove_now(path)

    play(story)


@pytest.mark.parametrize(
    ("status", "complaint"),
    [
        (1, "cp: error writing '/x/base/1': No space left on device"),
        (1, "cp: cannot create regular file '/x/base/1': No such file or directory"),
        (1, ""),
        (-9, "cp: cannot stat '/x/base/1': No such file or directory"),
    ],
)
def test_only_vanishing_and_replacement_are_forgiven(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int, complaint: str
) -> None:
    """A copy that fails for any other reason is an error with cp's words."""

    async def failing(*_: object) -> Finished:
        return Finished(status, "", complaint)

    monkeypatch.setattr(copying, "run", failing)
    with pytest.raises(ClusterFailed, match="could not be copied") as caught:
        asyncio.run(copying.copy_changing(tmp_path, ["base"], tmp_path / "b", default_account()))
    assert complaint in str(caught.value)


def test_a_copy_that_is_cancelled_leaves_nothing() -> None:
    """Who gives up a branch leaves no folder, and its parent is as it was."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        begun = asyncio.create_task(copy(clusters, made.cluster))
        await until_copied(clusters, made.cluster)
        begun.cancel()
        with suppress(asyncio.CancelledError):
            await begun
        await asyncio.gather(*clusters._workshop._removals)
        assert [path.name for path in clusters._workshop.folder.iterdir()] == [made.cluster]
        assert await ask(clusters, await copy(clusters, made.cluster), "SELECT 1") == [1]

    play(story)
