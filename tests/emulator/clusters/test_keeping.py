"""How a cluster's past is kept: from when, how much of it, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.emulator.clusters.notes import NOTES, bases, grow, now, with_notes, write
from tests.emulator.clusters.support import (
    ask,
    copy,
    folder,
    place,
    play,
)

from local_postgres import folders
from local_postgres.account import default_account
from neon_emulator.clusters import clusters as clusters_module
from neon_emulator.engine import KnownCluster, NoHistory, OutsideWindow, Point

if TYPE_CHECKING:
    from neon_emulator.clusters.clusters import Clusters


@pytest.fixture(autouse=True)
def _tended_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept is looked after when a test asks for it, and not in between."""
    monkeypatch.setattr(clusters_module, "_TEND_SECONDS", 3600)


def test_a_branch_has_no_history_unless_it_is_wanted() -> None:
    """A point of a cluster whose past is not kept is refused, and so is its window."""

    async def story(clusters: Clusters) -> None:
        root = await with_notes(clusters, "a")
        branch = await copy(clusters, root)
        for attempt in (copy(clusters, branch, at=Point(time=datetime.now(UTC))), clusters.window(branch)):
            with pytest.raises(NoHistory, match=f"The past of {branch} is not kept"):
                await attempt
        assert await ask(clusters, branch, "SHOW archive_mode") == ["off"]

    play(story)


def test_there_is_a_further_base_when_there_is_much_to_replay() -> None:
    """A recovery begins with the newest base before its point; older points are still reached from older bases."""

    async def story(clusters: Clusters) -> None:
        root = await with_notes(clusters, "a")
        first = await now(clusters, root)
        await write(clusters, root, "b")
        await clusters.tend(root)
        assert len(bases(clusters, root)) == 1
        await grow(clusters, root, 105)
        await clusters.tend(root)
        assert len(bases(clusters, root)) == 2
        second = await now(clusters, root)
        await write(clusters, root, "c")
        for time, notes in ((first, ["a"]), (second, ["a", "b"])):
            branch = await copy(clusters, root, at=Point(time=time))
            assert await ask(clusters, branch, NOTES) == notes
            log = (place(clusters, branch) / "log").read_text()
            assert log.count("restored log file") < (60 if time == first else 6)

    play(story)


def test_the_past_is_bounded_by_size_and_the_window_says_so() -> None:
    """Too much log lets the oldest past go: the window begins later, what is in it works, what is not is refused."""

    async def story(clusters: Clusters) -> None:
        root = await with_notes(clusters, "a")
        first = await clusters.window(root)
        await grow(clusters, root, 40)
        await clusters.tend(root)
        second = await clusters.window(root)
        assert second.start_time > first.start_time
        assert len(bases(clusters, root)) == 1
        history = clusters._workshop.find(root).history
        assert history is not None
        assert history.kept_bytes() <= (1 << 27)
        oldest = min(path.name for path in history.wal.iterdir())
        assert oldest >= f"00000001{0:08X}{history.bases[0].start >> 22:08X}"
        await write(clusters, root, "b")
        assert await ask(clusters, await copy(clusters, root, at=Point(time=second.start_time)), NOTES) == ["a"]
        with pytest.raises(OutsideWindow):
            await copy(clusters, root, at=Point(time=first.start_time))

    play(story, history_bytes=1 << 25)


def test_the_past_is_let_go_of_by_age() -> None:
    """After a time is let go of, the window begins no earlier; a base that a later point needs stays."""

    async def story(clusters: Clusters) -> None:
        root = await with_notes(clusters, "a")
        await clusters.acquire(root)
        first = await now(clusters, root)
        await write(clusters, root, "b")
        second = await now(clusters, root)
        await clusters.prune_history(root, second)
        assert (await clusters.window(root)).start_time == second
        assert await ask(clusters, await copy(clusters, root, at=Point(time=second)), NOTES) == ["a", "b"]
        with pytest.raises(OutsideWindow):
            await copy(clusters, root, at=Point(time=first))
        await clusters.prune_history(root, first)
        assert (await clusters.window(root)).start_time == second
        await grow(clusters, root, 40)
        await clusters.tend(root)
        await clusters.prune_history(root, datetime.now(UTC))
        assert len(bases(clusters, root)) == 1
        assert (await clusters.window(root)).start_time > second
        await clusters.prune_history(await copy(clusters, root), second)

    play(story, history_bytes=1 << 26)


def test_half_of_a_base_is_not_a_base() -> None:
    """What a killed emulator has left half-made in a history is deleted; the history itself goes on."""
    roots: list[str] = []
    times: list[datetime] = []

    async def before(clusters: Clusters) -> None:
        roots.append(await with_notes(clusters, "a"))
        times.append(await now(clusters, roots[0]))
        await write(clusters, roots[0], "b")
        half = folders.make_private(place(clusters, roots[0]) / "history" / "base-half", default_account())
        (half / "PG_VERSION").write_text("18\n")

    async def after(clusters: Clusters) -> None:
        assert [path.name for path in bases(clusters, roots[0])] != ["base-half"]
        assert len(bases(clusters, roots[0])) == 1
        assert await ask(clusters, await copy(clusters, roots[0], at=Point(time=times[0])), NOTES) == ["a"]

    with folder() as home:
        play(before, home)
        play(after, home, [KnownCluster(roots[0], history=True)])


def test_history_that_is_wanted_and_missing_begins_anew() -> None:
    """A cluster whose past is to be kept and was not, begins with it as soon as it is looked after."""
    roots: list[str] = []

    async def before(clusters: Clusters) -> None:
        roots.append(await copy(clusters, await with_notes(clusters, "a")))

    async def after(clusters: Clusters) -> None:
        with pytest.raises(NoHistory):
            await clusters.window(roots[0])
        await clusters.acquire(roots[0])
        await clusters.tend(roots[0])
        assert (await clusters.window(roots[0])).end_time

    with folder() as home:
        play(before, home)
        play(after, home, [KnownCluster(roots[0], history=True)])


def test_a_base_that_has_to_be_copied_whole_is_not_taken_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one base is more than what may be kept, the next comes after as much log as it has data."""
    monkeypatch.setattr(clusters_module, "shares_blocks", _no)

    async def story(clusters: Clusters) -> None:
        root = await with_notes(clusters, "a")
        await clusters.acquire(root)
        found = clusters._workshop.find(root)
        history = found.history
        assert history is not None
        [first] = history.bases
        assert first.size > 1 << 24
        limit = 1 << 23
        while await clusters._tender._since_base(found, history) < 1.5 * limit:
            await grow(clusters, root, 1)
        await clusters.tend(root)
        assert history.kept_bytes() - first.size > limit
        assert history.bases == [first]

    play(story, history_bytes=1 << 23)


async def _no(*_: object) -> bool:
    return False
