"""The past of a cluster: what is kept of it, for how long, and branches at any point of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.emulator.clusters.notes import INSERT_LSN, LSN, NOTES, now, with_notes, write
from tests.emulator.clusters.support import (
    OTHER_VERIFIER,
    OWNER,
    VERIFIER,
    ask,
    client,
    copy,
    play,
    trouble,
    until,
)

from neon_emulator.engine import ClusterFailed, OutsideWindow, Point

if TYPE_CHECKING:
    from neon_emulator.clusters.clusters import Clusters


def test_a_time_means_the_last_commit_at_or_before_it() -> None:
    """A branch at a time has what was committed until then, and nothing that was committed later."""

    async def story(clusters: Clusters) -> None:
        root = await with_notes(clusters, "a")
        between = await now(clusters, root)
        await write(clusters, root, "b")
        made = await clusters.branch(root, at=Point(time=between), verifiers={}, history=False)
        assert await ask(clusters, made.cluster, NOTES) == ["a"]
        assert made.time == between
        assert trouble(clusters, made.cluster) == []
        assert await ask(clusters, root, NOTES) == ["a", "b"]

    play(story)


@pytest.mark.parametrize("statement", ["SELECT now()", "SELECT clock_timestamp()", LSN, INSERT_LSN])
def test_a_point_just_read_at_the_head_works(statement: str) -> None:
    """The parent's own idea of now, or of its log's end, is a point with all that was committed before it was read."""

    async def story(clusters: Clusters) -> None:
        root = await with_notes(clusters, "a")
        [now] = await ask(clusters, root, statement)
        at = Point(lsn=now) if isinstance(now, str) else Point(time=now)
        branch = await copy(clusters, root, at=at)
        assert await ask(clusters, branch, NOTES) == ["a"]

    play(story)


def test_a_transaction_still_open_at_a_position_stays_out() -> None:
    """What is committed after the position is not in the branch, even where it was written before."""

    async def story(clusters: Clusters) -> None:
        root = await with_notes(clusters, "a")
        async with client(clusters, root) as session:
            await session.execute("BEGIN")
            await session.execute("INSERT INTO note VALUES ('open')")
            [lsn] = await ask(clusters, root, INSERT_LSN)
            await session.execute("COMMIT")
        made = await clusters.branch(root, at=Point(lsn=lsn), verifiers={}, history=False)
        assert await ask(clusters, made.cluster, NOTES) == ["a"]
        assert made.lsn <= lsn

    play(story)


def test_a_branch_at_a_past_point_goes_on_by_itself() -> None:
    """It takes writes, survives a stop, and can be copied at its own head."""

    async def story(clusters: Clusters) -> None:
        root = await with_notes(clusters, "a")
        branch = await copy(clusters, root, at=Point(time=await now(clusters, root)))
        await write(clusters, branch, "branch")
        await clusters.acquire(branch)
        await clusters.release(branch, linger=0)
        assert clusters.running(branch) is None
        again = await copy(clusters, branch)
        for cluster in (branch, again):
            assert await ask(clusters, cluster, NOTES) == ["a", "branch"]
        assert await ask(clusters, root, NOTES) == ["a"]

    play(story)


def test_a_stopped_root_has_its_past_too() -> None:
    """A root that sleeps is woken for a branch at a past point."""

    async def story(clusters: Clusters) -> None:
        root = await with_notes(clusters, "a")
        between = await now(clusters, root)
        await write(clusters, root, "b")
        await clusters.acquire(root)
        await clusters.release(root, linger=0)
        assert clusters.running(root) is None
        assert await ask(clusters, await copy(clusters, root, at=Point(time=between)), NOTES) == ["a"]

    play(story)


def test_passwords_of_the_past_do_not_come_back() -> None:
    """A password that was changed since is the one that is handed over, not the old one."""

    async def story(clusters: Clusters) -> None:
        root = await with_notes(clusters, "a")
        between = await now(clusters, root)
        await ask(clusters, root, f"ALTER ROLE {OWNER} PASSWORD '{OTHER_VERIFIER}'", user="cloud_admin")
        old = await copy(clusters, root, at=Point(time=between))
        current = await copy(clusters, root, at=Point(time=between), verifiers={OWNER: OTHER_VERIFIER})
        for cluster, verifier in ((old, VERIFIER), (current, OTHER_VERIFIER)):
            await clusters.acquire(cluster)
            assert await clusters.verifier(cluster, OWNER) == verifier

    play(story)


def test_the_past_of_a_branch_that_is_itself_at_a_past_point() -> None:
    """A root that was made at a past point has a past of its own, on its own timeline, any number of times over."""

    async def story(clusters: Clusters) -> None:
        root = await with_notes(clusters, "a")
        for note in ("b", "c"):
            root = await copy(clusters, root, at=Point(time=await now(clusters, root)), history=True)
            between = await now(clusters, root)
            await write(clusters, root, note)
        assert await ask(clusters, root, NOTES) == ["a", "b", "c"]
        assert await ask(clusters, await copy(clusters, root, at=Point(time=between)), NOTES) == ["a", "b"]

    play(story)


@pytest.mark.parametrize(
    "past",
    [
        lambda kept: Point(time=kept.start_time - timedelta(seconds=1)),
        lambda _: Point(time=datetime.now(UTC) + timedelta(hours=1)),
        lambda _: Point(lsn="0/100"),
        lambda _: Point(lsn="FF/0"),
    ],
    ids=["before", "future", "old log", "log ahead"],
)
def test_a_point_outside_of_the_window_is_refused_with_the_window(past: Any) -> None:
    """The error names the point and what is kept; nothing is left of the attempt."""

    async def story(clusters: Clusters) -> None:
        root = await with_notes(clusters, "a")
        kept = await clusters.window(root)
        with pytest.raises(OutsideWindow, match=f"the past of {root} goes from {kept.start_lsn} at ") as caught:
            await copy(clusters, root, at=past(kept))
        assert (caught.value.window.start_lsn, caught.value.window.start_time) == (kept.start_lsn, kept.start_time)
        assert caught.value.window.end_time >= kept.end_time
        await until(lambda: [path.name for path in clusters._workshop.folder.iterdir()] == [root])

    play(story)


def test_the_first_moment_of_the_window_is_in_it() -> None:
    """The start of the window, as a time and as a position, is a point like any other."""

    async def story(clusters: Clusters) -> None:
        root = await with_notes(clusters, "a")
        kept = await clusters.window(root)
        for at in (Point(time=kept.start_time), Point(lsn=kept.start_lsn)):
            tables = "SELECT count(*) FROM pg_class WHERE relname = 'note'"
            assert await ask(clusters, await copy(clusters, root, at=at), tables) == [0]

    play(story)


def test_a_position_that_is_none_is_refused() -> None:
    """The error has the text and an example."""

    async def story(clusters: Clusters) -> None:
        root = await with_notes(clusters)
        with pytest.raises(ClusterFailed, match=r"'last week' is no position .* such as 0/1DE2850"):
            await copy(clusters, root, at=Point(lsn="last week"))

    play(story)


def test_a_schema_at_a_past_point() -> None:
    """The schema as it was, without rows; the cluster that it was read from is gone."""

    async def story(clusters: Clusters) -> None:
        root = await with_notes(clusters, "a")
        between = await now(clusters, root)
        await ask(clusters, root, "DROP TABLE note")
        bare = await clusters.schema_only(root, at=Point(time=between))
        assert await ask(clusters, bare.cluster, NOTES) == []
        await until(lambda: {path.name for path in clusters._workshop.folder.iterdir()} == {root, bare.cluster})

    play(story)
