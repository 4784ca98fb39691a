"""What a branch costs beside the bare statement or call that copies its database, by size and file system."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import sqlalchemy as sa
from tests.benchmarks.places import Place, folder_in, reflink

import local_postgres
from flask_branches import urls
from local_postgres import folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask import Flask

pytestmark = pytest.mark.benchmark

_MB = 2**20
# By size in MB: how often each way is tried, and how often the best of them and a branch are measured.
_ROUNDS = {8: (5, 31), 100: (3, 11), 1000: (1, 5)}
_SMALLEST = 7.5
_WAYS = {
    "WAL_LOG": ("WAL_LOG", None),
    "FILE_COPY, copied": ("FILE_COPY", "copy"),
    "FILE_COPY, cloned": ("FILE_COPY", "clone"),
}


@pytest.fixture(scope="module", params=["disk", "memory", "reflink"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A file system, each of its kind, whose folders a server's account can enter."""
    if request.param == "reflink":
        with reflink() as folder:
            yield Place(request.param, folder)
        return
    base = "/dev/shm" if request.param == "memory" else "/var/tmp"  # noqa: S108  a folder of one's own is made there
    if not os.access(base, os.W_OK):
        pytest.skip(f"{base} cannot be written to")
    with folder_in(base) as folder:
        yield Place(request.param, folder)


@pytest.mark.parametrize("flushed", [True, False], ids=["fsync", "no fsync"])
def test_a_clone_costs_what_its_statement_costs(
    kind: str, service: Any, place: Place, flushed: bool, medians: Callable[..., dict[str, float]], ratio: Any
) -> None:
    """On Postgres: beside the fastest CREATE DATABASE that there is for this size, on this file system."""
    if kind != "postgres":
        pytest.skip("statements of Postgres")
    if place.name == "memory" and flushed:
        pytest.skip("a server in memory is made to be thrown away")
    what = f"postgres, {place}, {'fsync' if flushed else 'no fsync'}"
    ours = {}
    with _cluster(place, throwaway=not flushed) as server, psycopg.connect(server, autocommit=True) as admin:
        for size in _sizes(place):
            fill(admin, server, size)
            trials, rounds = _ROUNDS[size]
            bare = {way: _bare(admin, *words) for way, words in _WAYS.items()}
            os.sync()
            tried = medians(trials, **bare)
            best = min(tried, key=lambda way: tried[way])
            with _branching(service, _url(admin)) as branch:
                branch()  # connected
                os.sync()
                took = medians(rounds, branch=branch, bare=bare[best])
            ours[size] = took["branch"]
            ratio(f"{what}: a branch of {size} MB to {best}", took["bare"] * 1e3, took["branch"] * 1e3, "ms")
            admin.execute("DROP DATABASE main WITH (FORCE)")
    _compare(what, ours, ratio)


def test_a_copied_file_costs_what_its_backup_costs(
    kind: str, service: Any, place: Place, medians: Callable[..., dict[str, float]], ratio: Any
) -> None:
    """On SQLite: beside the bare call of its backup."""
    if kind != "sqlite":
        pytest.skip("a call of SQLite's")
    what = f"sqlite, {place}"
    ours = {}
    for size in _sizes(place):
        main, copy = place.folder / f"{size}.sqlite", place.folder / "copy.sqlite"
        with closing(sqlite3.connect(main)) as connection, connection:
            connection.execute("CREATE TABLE big (filler BLOB)")
            connection.executemany("INSERT INTO big VALUES (?)", ((os.urandom(_MB),) for _ in range(size)))

        def bare(main: Path = main, copy: Path = copy) -> float:
            began = time.perf_counter()
            with closing(sqlite3.connect(main)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
            took = time.perf_counter() - began
            copy.unlink()
            return took

        with _branching(service, f"sqlite:///{main}") as branch:
            os.sync()
            took = medians(_ROUNDS[size][1], branch=branch, bare=bare)
        ours[size] = took["branch"]
        ratio(f"{what}: a branch of {size} MB to a backup", took["bare"] * 1e3, took["branch"] * 1e3, "ms")
        main.unlink()
    _compare(what, ours, ratio)


def fill(admin: psycopg.Connection[Any], server: str, size: int) -> None:
    """Make a database of that many MB, an empty one where it is no larger."""
    admin.execute("CREATE DATABASE main")
    if size > _SMALLEST + 1:
        with psycopg.connect(server, dbname="main", autocommit=True) as connection:
            connection.execute("CREATE TABLE big (filler text)")
            connection.execute("ALTER TABLE big ALTER filler SET STORAGE PLAIN")
            rows = int((size - _SMALLEST) * _MB // 8192) * 4
            connection.execute("INSERT INTO big SELECT repeat('x', 1950) FROM generate_series(1, %s)", [rows])
            connection.execute("VACUUM ANALYZE big")
    admin.execute("CHECKPOINT")


def _sizes(place: Place) -> Iterator[int]:
    for size in _ROUNDS:
        if not place.has_room_for(size):
            pytest.skip(f"{place} has no room for {size} MB and its copies")
        yield size


def _compare(what: str, ours: dict[int, float], ratio: Any) -> None:
    small, large = min(ours), max(ours)
    ratio(f"{what}: a branch of {large} MB to one of {small} MB", ours[small] * 1e3, ours[large] * 1e3, "ms")


def _bare(admin: psycopg.Connection[Any], strategy: str, method: str | None) -> Callable[[], float]:
    def run() -> float:
        if method is not None:
            admin.execute(f"SET file_copy_method = {method}".encode())
        began = time.perf_counter()
        admin.execute(f"CREATE DATABASE bare TEMPLATE main STRATEGY {strategy}".encode())
        took = time.perf_counter() - began
        admin.execute("DROP DATABASE bare WITH (FORCE)")
        return took

    return run


@contextmanager
def _branching(service: Any, url: str) -> Iterator[Callable[[], float]]:
    """Make a branch of a database, delete it again, and tell how long the first took."""
    app: Flask = service.create_app(url)

    def run() -> float:
        began = time.perf_counter()
        made = service.branches.create("measured")
        took = time.perf_counter() - began
        service.branches.delete(made.name)
        return took

    with app.app_context():
        yield run
        service.branches.databases.close()
        service.db.engine.dispose()


def _url(admin: psycopg.Connection[Any]) -> str:
    query = {"host": admin.info.host, "port": str(admin.info.port)}
    return urls.plain(sa.URL.create("postgresql+psycopg", admin.info.user, database="main", query=query))


@contextmanager
def _cluster(place: Place, *, throwaway: bool) -> Iterator[str]:
    cluster = local_postgres.Cluster(place.folder / "cluster", throwaway=throwaway)
    try:
        cluster.start()
        assert cluster.home.is_relative_to(place.folder)
        yield cluster.address.conninfo()
    finally:
        cluster.stop()
        folders.discard(cluster.home)
