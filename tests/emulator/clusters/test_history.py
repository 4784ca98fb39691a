"""The past of a cluster: what is kept of it, for how long, and branches at any point of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.emulator.clusters.support import (
    OTHER_VERIFIER,
    OWNER,
    VERIFIER,
    ask,
    client,
    copy,
    folder,
    new,
    place,
    play,
    trouble,
    until,
)

from local_postgres import folders
from local_postgres.account import default_account
from neon_emulator.engine import ClusterFailed, KnownCluster, NoHistory, OutsideWindow, Point

if TYPE_CHECKING:
    from pathlib import Path

    from neon_emulator.clusters.clusters import Clusters

_NOTES = "SELECT text FROM note ORDER BY text"
_LSN = "SELECT pg_current_wal_lsn()::text"
_INSERT_LSN = "SELECT pg_current_wal_insert_lsn()::text"
_MEGABYTE = "INSERT INTO bulk SELECT repeat(md5(g::text), 30) FROM generate_series(1, 1000) g"


async def _with_notes(clusters: Clusters, *notes: str) -> str:
    made = await new(clusters)
    await ask(clusters, made.cluster, "CREATE TABLE note (text text)")
    for note in notes:
        await _write(clusters, made.cluster, note)
    return made.cluster


async def _write(clusters: Clusters, cluster: str, note: str) -> None:
    await ask(clusters, cluster, "INSERT INTO note VALUES (%s)", note)


async def _now(clusters: Clusters, cluster: str) -> datetime:
    [now] = await ask(clusters, cluster, "SELECT now()")
    assert isinstance(now, datetime)
    return now


async def _grow(clusters: Clusters, cluster: str, megabytes: int) -> None:
    await ask(clusters, cluster, "CREATE TABLE IF NOT EXISTS bulk (text text)")
    for _ in range(megabytes):
        await ask(clusters, cluster, _MEGABYTE)


def _bases(clusters: Clusters, cluster: str) -> list[Path]:
    return sorted((place(clusters, cluster) / "history").glob("base-*"))


def test_a_time_means_the_last_commit_at_or_before_it() -> None:
    """A branch at a time has what was committed until then, and nothing that was committed later."""

    async def story(clusters: Clusters) -> None:
        root = await _with_notes(clusters, "a")
        between = await _now(clusters, root)
        await _write(clusters, root, "b")
        made = await clusters.branch(root, at=Point(time=between), verifiers={}, history=False)
        assert await ask(clusters, made.cluster, _NOTES) == ["a"]
        assert made.time == between
        assert trouble(clusters, made.cluster) == []
        assert await ask(clusters, root, _NOTES) == ["a", "b"]

    play(story)


@pytest.mark.parametrize("statement", ["SELECT now()", "SELECT clock_timestamp()", _LSN, _INSERT_LSN])
def test_a_point_just_read_at_the_head_works(statement: str) -> None:
    """The parent's own idea of now, or of its log's end, is a point with all that was committed before it was read."""

    async def story(clusters: Clusters) -> None:
        root = await _with_notes(clusters, "a")
        [now] = await ask(clusters, root, statement)
        at = Point(lsn=now) if isinstance(now, str) else Point(time=now)
        branch = await copy(clusters, root, at=at)
        assert await ask(clusters, branch, _NOTES) == ["a"]

    play(story)


def test_a_transaction_still_open_at_a_position_stays_out() -> None:
    """What is committed after the position is not in the branch, even where it was written before."""

    async def story(clusters: Clusters) -> None:
        root = await _with_notes(clusters, "a")
        async with client(clusters, root) as session:
            await session.execute("BEGIN")
            await session.execute("INSERT INTO note VALUES ('open')")
            [lsn] = await ask(clusters, root, _INSERT_LSN)
            await session.execute("COMMIT")
        made = await clusters.branch(root, at=Point(lsn=lsn), verifiers={}, history=False)
        assert await ask(clusters, made.cluster, _NOTES) == ["a"]
        assert made.lsn <= lsn

    play(story)


def test_a_branch_at_a_past_point_goes_on_by_itself() -> None:
    """It takes writes, survives a stop, and can be copied at its own head."""

    async def story(clusters: Clusters) -> None:
        root = await _with_notes(clusters, "a")
        branch = await copy(clusters, root, at=Point(time=await _now(clusters, root)))
        await _write(clusters, branch, "branch")
        await clusters.acquire(branch)
        await clusters.release(branch, linger=0)
        assert clusters.running(branch) is None
        again = await copy(clusters, branch)
        for cluster in (branch, again):
            assert await ask(clusters, cluster, _NOTES) == ["a", "branch"]
        assert await ask(clusters, root, _NOTES) == ["a"]

    play(story)


def test_a_stopped_root_has_its_past_too() -> None:
    """A root that sleeps is woken for a branch at a past point."""

    async def story(clusters: Clusters) -> None:
        root = await _with_notes(clusters, "a")
        between = await _now(clusters, root)
        await _write(clusters, root, "b")
        await clusters.acquire(root)
        await clusters.release(root, linger=0)
        assert clusters.running(root) is None
        assert await ask(clusters, await copy(clusters, root, at=Point(time=between)), _NOTES) == ["a"]

    play(story)


def test_passwords_of_the_past_do_not_come_back() -> None:
    """A password that was changed since is the one that is handed over, not the old one."""

    async def story(clusters: Clusters) -> None:
        root = await _with_notes(clusters, "a")
        between = await _now(clusters, root)
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
        root = await _with_notes(clusters, "a")
        for note in ("b", "c"):
            root = await copy(clusters, root, at=Point(time=await _now(clusters, root)), history=True)
            between = await _now(clusters, root)
            await _write(clusters, root, note)
        assert await ask(clusters, root, _NOTES) == ["a", "b", "c"]
        assert await ask(clusters, await copy(clusters, root, at=Point(time=between)), _NOTES) == ["a", "b"]

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
        root = await _with_notes(clusters, "a")
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
        root = await _with_notes(clusters, "a")
        kept = await clusters.window(root)
        for at in (Point(time=kept.start_time), Point(lsn=kept.start_lsn)):
            tables = "SELECT count(*) FROM pg_class WHERE relname = 'note'"
            assert await ask(clusters, await copy(clusters, root, at=at), tables) == [0]

    play(story)


def test_a_position_that_is_none_is_refused() -> None:
    """The error has the text and an example."""

    async def story(clusters: Clusters) -> None:
        root = await _with_notes(clusters)
        with pytest.raises(ClusterFailed, match=r"'last week' is no position .* such as 0/1DE2850"):
            await copy(clusters, root, at=Point(lsn="last week"))

    play(story)


def test_a_branch_has_no_history_unless_it_is_wanted() -> None:
    """A point of a cluster whose past is not kept is refused, and so is its window."""

    async def story(clusters: Clusters) -> None:
        root = await _with_notes(clusters, "a")
        branch = await copy(clusters, root)
        for attempt in (copy(clusters, branch, at=Point(time=datetime.now(UTC))), clusters.window(branch)):
            with pytest.raises(NoHistory, match=f"The past of {branch} is not kept"):
                await attempt
        assert await ask(clusters, branch, "SHOW archive_mode") == ["off"]

    play(story)


def test_history_begins_when_it_is_wanted_and_is_deleted_when_it_is_not() -> None:
    """A running cluster is started anew to begin; without history its folder is gone, and it runs on."""

    async def story(clusters: Clusters) -> None:
        branch = await copy(clusters, await _with_notes(clusters, "a"))
        async with client(clusters, branch) as session:
            await clusters.keep_history(branch, keep=True)
            with pytest.raises(psycopg.OperationalError):
                await session.execute("SELECT 1")
        await clusters.keep_history(branch, keep=True)
        assert len(_bases(clusters, branch)) == 1
        between = await _now(clusters, branch)
        await _write(clusters, branch, "b")
        assert await ask(clusters, await copy(clusters, branch, at=Point(time=between)), _NOTES) == ["a"]
        async with client(clusters, branch) as session:
            await clusters.keep_history(branch, keep=False)
            await session.execute("SELECT 1")
        await ask(clusters, branch, "SELECT pg_switch_wal()", user="cloud_admin")
        assert not (place(clusters, branch) / "history").exists()
        with pytest.raises(NoHistory):
            await clusters.window(branch)
        await clusters.keep_history(branch, keep=True)
        assert (await clusters.window(branch)).start_time > between

    play(story)


def test_there_is_a_further_base_when_there_is_much_to_replay() -> None:
    """A recovery begins with the newest base before its point; older points are still reached from older bases."""

    async def story(clusters: Clusters) -> None:
        root = await _with_notes(clusters, "a")
        first = await _now(clusters, root)
        await _write(clusters, root, "b")
        await clusters.tend(root)
        assert len(_bases(clusters, root)) == 1
        await _grow(clusters, root, 105)
        await clusters.tend(root)
        assert len(_bases(clusters, root)) == 2
        second = await _now(clusters, root)
        await _write(clusters, root, "c")
        for time, notes in ((first, ["a"]), (second, ["a", "b"])):
            branch = await copy(clusters, root, at=Point(time=time))
            assert await ask(clusters, branch, _NOTES) == notes
            log = (place(clusters, branch) / "log").read_text()
            assert log.count("restored log file") < (60 if time == first else 6)

    play(story)


def test_the_past_is_bounded_by_size_and_the_window_says_so() -> None:
    """Too much log lets the oldest past go: the window begins later, what is in it works, what is not is refused."""

    async def story(clusters: Clusters) -> None:
        root = await _with_notes(clusters, "a")
        first = await clusters.window(root)
        await _grow(clusters, root, 40)
        await clusters.tend(root)
        second = await clusters.window(root)
        assert second.start_time > first.start_time
        assert len(_bases(clusters, root)) == 1
        history = clusters._workshop.find(root).history
        assert history is not None
        assert history.kept_bytes() <= (1 << 27)
        oldest = min(path.name for path in history.wal.iterdir())
        assert oldest >= f"00000001{0:08X}{history.bases[0].start >> 22:08X}"
        await _write(clusters, root, "b")
        assert await ask(clusters, await copy(clusters, root, at=Point(time=second.start_time)), _NOTES) == ["a"]
        with pytest.raises(OutsideWindow):
            await copy(clusters, root, at=Point(time=first.start_time))

    play(story, history_bytes=1 << 25)


def test_the_past_is_let_go_of_by_age() -> None:
    """After a time is let go of, the window begins no earlier; a base that a later point needs stays."""

    async def story(clusters: Clusters) -> None:
        root = await _with_notes(clusters, "a")
        await clusters.acquire(root)
        first = await _now(clusters, root)
        await _write(clusters, root, "b")
        second = await _now(clusters, root)
        await clusters.prune_history(root, second)
        assert (await clusters.window(root)).start_time == second
        assert await ask(clusters, await copy(clusters, root, at=Point(time=second)), _NOTES) == ["a", "b"]
        with pytest.raises(OutsideWindow):
            await copy(clusters, root, at=Point(time=first))
        await clusters.prune_history(root, first)
        assert (await clusters.window(root)).start_time == second
        await _grow(clusters, root, 40)
        await clusters.tend(root)
        await clusters.prune_history(root, datetime.now(UTC))
        assert len(_bases(clusters, root)) == 1
        assert (await clusters.window(root)).start_time > second
        await clusters.prune_history(await copy(clusters, root), second)

    play(story, history_bytes=1 << 26)


def test_half_of_a_base_is_not_a_base() -> None:
    """What a killed emulator has left half-made in a history is deleted; the history itself goes on."""
    roots: list[str] = []
    times: list[datetime] = []

    async def before(clusters: Clusters) -> None:
        roots.append(await _with_notes(clusters, "a"))
        times.append(await _now(clusters, roots[0]))
        await _write(clusters, roots[0], "b")
        half = folders.make_private(place(clusters, roots[0]) / "history" / "base-half", default_account())
        (half / "PG_VERSION").write_text("18\n")

    async def after(clusters: Clusters) -> None:
        assert [path.name for path in _bases(clusters, roots[0])] != ["base-half"]
        assert len(_bases(clusters, roots[0])) == 1
        assert await ask(clusters, await copy(clusters, roots[0], at=Point(time=times[0])), _NOTES) == ["a"]

    with folder() as home:
        play(before, home)
        play(after, home, [KnownCluster(roots[0], history=True)])


def test_history_that_is_wanted_and_missing_begins_anew() -> None:
    """A cluster whose past is to be kept and was not, begins with it as soon as it is looked after."""
    roots: list[str] = []

    async def before(clusters: Clusters) -> None:
        roots.append(await copy(clusters, await _with_notes(clusters, "a")))

    async def after(clusters: Clusters) -> None:
        with pytest.raises(NoHistory):
            await clusters.window(roots[0])
        await clusters.acquire(roots[0])
        await clusters.tend(roots[0])
        assert (await clusters.window(roots[0])).end_time

    with folder() as home:
        play(before, home)
        play(after, home, [KnownCluster(roots[0], history=True)])


def test_history_that_is_wanted_no_more_is_deleted_at_the_start() -> None:
    """What is on record counts: without history on record, none is left on the disk."""
    roots: list[str] = []

    async def before(clusters: Clusters) -> None:
        roots.append(await _with_notes(clusters, "a"))

    async def after(clusters: Clusters) -> None:
        assert not (place(clusters, roots[0]) / "history").exists()
        assert await ask(clusters, roots[0], _NOTES) == ["a"]

    with folder() as home:
        play(before, home)
        play(after, home, [KnownCluster(roots[0], history=False)])


def test_a_schema_at_a_past_point() -> None:
    """The schema as it was, without rows; the cluster that it was read from is gone."""

    async def story(clusters: Clusters) -> None:
        root = await _with_notes(clusters, "a")
        between = await _now(clusters, root)
        await ask(clusters, root, "DROP TABLE note")
        bare = await clusters.schema_only(root, at=Point(time=between))
        assert await ask(clusters, bare.cluster, _NOTES) == []
        await until(lambda: {path.name for path in clusters._workshop.folder.iterdir()} == {root, bare.cluster})

    play(story)
