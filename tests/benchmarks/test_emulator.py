"""What a branch of the emulator costs beside a bare copy of its parent's files, by size, load and file system."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.benchmarks.places import MB, Place, folder_in, reflink
from tests.emulator import processes
from tests.emulator.running import Client, Emulator, Project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.benchmark

# By size in MB: how often a branch is measured.
_ROUNDS = {40: 9, 200: 7, 1000: 5, 2000: 5}
_EMPTY = 30
_RATE = 200
_ROWS = "INSERT INTO big SELECT repeat('x', 700) FROM generate_series(1, %s)"


@pytest.fixture(scope="module", params=["disk", "reflink"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A file system of each kind."""
    with reflink() if request.param == "reflink" else folder_in("/var/tmp") as folder:  # noqa: S108 - a name of its own
        yield Place(request.param, folder)


@pytest.fixture
def project(place: Place) -> Iterator[Project]:
    """A project of an emulator whose data lie there."""
    emulator = Emulator(place.folder / "data").start()
    with emulator.client().http as http:
        yield Client(http).project()
    emulator.stop()
    home = emulator.data.resolve()
    assert home.is_relative_to(place.folder)
    shutil.rmtree(home)


@pytest.mark.parametrize("size", _ROUNDS)
def test_a_branch_at_the_head(
    project: Project, place: Place, size: int, medians: Callable[..., dict[str, float]], ratio: Any
) -> None:
    """From the request until the first answer of the branch's own Postgres; the parent idle, then busy."""
    _fill(project, size)
    source = _largest(place)
    sides = {"bare": lambda: _bare(source, place.folder / "bare"), "branch": lambda: _branch(project)}
    took = medians(_ROUNDS[size], **sides)
    ratio(
        f"{place}: a branch of {size} MB, parent idle, to a bare copy", took["bare"] * 1e3, took["branch"] * 1e3, "ms"
    )
    with _load(project) as rate:
        took = medians(_ROUNDS[size], **sides)
    what = f"{place}: a branch of {size} MB, parent at {rate():.0f} tx/s, to a bare copy"
    ratio(what, took["bare"] * 1e3, took["branch"] * 1e3, "ms")


def test_a_past_point(project: Project, place: Place, ratio: Any) -> None:
    """At a time a moment ago, beside the head."""
    _fill(project, 40)
    head = statistics.median(_branch(project) for _ in range(7))
    past = statistics.median(_branch(project, parent_timestamp=_now(project)) for _ in range(7))
    ratio(f"{place}: a branch of 40 MB at a past time to one at the head", head * 1e3, past * 1e3, "ms")


def test_twenty_branches_at_once(project: Project, place: Place, ratio: Any) -> None:
    """Twenty clients that ask at the same time, beside one."""
    one = statistics.median(_branch(project) for _ in range(5))
    with ThreadPoolExecutor(20) as pool:
        began = time.perf_counter()
        list(pool.map(lambda _: _branch(project, keep=True), range(20)))
        took = time.perf_counter() - began
    ratio(f"{place}: twenty branches at once to one", one * 1e3, took * 1e3, "ms")


def test_a_start_from_nothing(place: Place, ratio: Any) -> None:
    """An emulator with a project and a command, from nothing to nothing, beside an interpreter that starts Flask."""
    command = [sys.executable, "-c", "from neon_emulator.cli import main; main()", "exec", "--", "true"]
    whole = statistics.median(_timed(command) for _ in range(5))
    flask = statistics.median(_timed([sys.executable, "-c", "import flask, sqlalchemy, psycopg"]) for _ in range(5))
    ratio(f"{place}: `neon-emulator exec -- true` to its imports", flask * 1e3, whole * 1e3, "ms")


def test_a_first_project(project: Project, place: Place, ratio: Any) -> None:
    """A further project, ready to be used, beside a branch."""
    branch = statistics.median(_branch(project) for _ in range(5))
    made = []
    for _ in range(5):
        began = time.perf_counter()
        project.client.project().query("SELECT 1")
        made.append(time.perf_counter() - began)
    ratio(f"{place}: a project to a branch", branch * 1e3, statistics.median(made) * 1e3, "ms")


def test_the_memory_of_an_idle_branch(project: Project, place: Place, ratio: Any) -> None:
    """The proportional set size of all processes of one branch whose compute is awake and idle."""
    processes.needs_proc()
    made = project.branch()
    project.query("SELECT count(*) FROM pg_class", made["branch"]["id"])
    project.client.post(f"{project.path}/endpoints/{project.made['endpoints'][0]['id']}/suspend", status=200)
    project.settle()
    (server,) = processes.servers(place.folder)
    size = sum(_proportional(pid) for pid in [server, *processes.children(server)])
    ratio(f"{place}: memory of an idle branch to 30 MB", 30, size, "MB")


def _fill(project: Project, size: int) -> None:
    with project.connect() as connection:
        connection.execute("CREATE TABLE big (filler text) WITH (fillfactor = 10)")  # a large table by a small log
        connection.execute(_ROWS.encode(), [max(size - _EMPTY, 1) * MB // 8192])
        connection.execute("CREATE TABLE transfers (n serial, at timestamptz DEFAULT now())")
        connection.execute("VACUUM ANALYZE big")
    _branch(project)  # has made a checkpoint


def _branch(project: Project, *, keep: bool = False, **options: Any) -> float:
    began = time.perf_counter()
    made = project.client.post(f"{project.path}/branches", {"branch": options, "endpoints": [{"type": "read_write"}]})
    with psycopg.connect(made["connection_uris"][0]["connection_uri"]) as connection:
        connection.execute("SELECT 1 FROM pg_class LIMIT 1")
    took = time.perf_counter() - began
    project.settle()
    if not keep:
        project.client.delete(f"{project.path}/branches/{made['branch']['id']}")
        project.settle()
    return took


def _largest(place: Place) -> Path:
    """The data of the largest cluster, which is that of the branch that the others are made of."""
    clusters = (place.folder / "data").resolve() / "clusters"
    return max((path / "data" for path in clusters.iterdir() if ".gone-" not in path.name), key=_size)


def _bare(source: Path, target: Path) -> float:
    """Copy a cluster's files, without its log, as `cp` does; what vanishes meanwhile is left out."""
    parts = [str(path) for path in source.iterdir() if path.name != "pg_wal"]
    target.mkdir()
    began = time.perf_counter()
    subprocess.run(["cp", "-a", "--reflink=auto", "-t", str(target), *parts], check=False, capture_output=True)
    took = time.perf_counter() - began
    shutil.rmtree(target)
    return took


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _timed(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def _now(project: Project) -> str:
    ((now,),) = project.query("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
    return str(now)


@contextmanager
def _load(project: Project) -> Iterator[Callable[[], float]]:
    """Write at a rate of transactions, and tell the rate that was reached."""
    ended, counted = threading.Event(), [0]
    began = time.perf_counter()

    def write() -> None:
        with project.connect() as connection:
            while not ended.wait(max(0.0, began + counted[0] / _RATE - time.perf_counter())):
                connection.execute("INSERT INTO transfers DEFAULT VALUES")
                counted[0] += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield lambda: counted[0] / (time.perf_counter() - began)
    finally:
        ended.set()
        thread.join()


def _proportional(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))
