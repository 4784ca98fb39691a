"""The API's supervisor: asked when it knows all, replaced when it dies, and clear about why it does not start."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from tests.emulator import processes
from tests.emulator.clusters.support import DATABASE, OWNER, VERIFIER, folder
from tests.emulator.running import until

import local_postgres
from neon_emulator import link as link_module
from neon_emulator.child import Child
from neon_emulator.engine import ClusterFailed, EngineGone, KnownCluster
from neon_emulator.link import Link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future

    from neon_emulator.engine import Made


@contextmanager
def _linked(home: Path) -> Iterator[Link]:
    link = Link(home, history_bytes=1 << 30)
    try:
        yield link
    finally:
        link.close()


def _new(link: Link) -> Made:
    return link.new_cluster(owner=OWNER, verifier=VERIFIER, database=DATABASE)


def _kill(link: Link) -> None:
    os.kill(link._child.process.pid, signal.SIGKILL)


def _answering(answer: str) -> Callable[..., Child]:
    """How to start what reads a question, says so much, and ends."""
    code = "import socket, sys; link = socket.socket(fileno=int(sys.argv[1])); link.recv(1000); "

    def start(home: Path, *_: object) -> Child:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-c", f"{code} link.sendall({answer.encode()!r})", str(theirs.fileno())]
            return Child(subprocess.Popen(command, pass_fds=(theirs.fileno(),)), ours, home / "supervisor.log", 0)

    return start


def test_a_session_that_outlives_its_supervisor_ends_without_an_error() -> None:
    """What was done is done: that its supervisor, and with it the hold, is gone by then is no failure."""
    with folder() as home, _linked(home) as link:
        link.adopt([], [])
        made = _new(link)
        adopted = threading.Event()

        def adopt() -> None:
            link.adopt([KnownCluster(made.cluster, history=True)], [])
            adopted.set()

        link.after_restart(adopt)
        with link.session(made.cluster) as connection:
            connection.execute("CREATE TABLE note ()")
            _kill(link)
            assert adopted.wait(60)
        with link.session(made.cluster) as connection:
            assert connection.execute("SELECT count(*) FROM note").fetchall() == [(0,)]


def test_a_supervisor_that_cannot_take_over_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on record is handed over again, to another one, until that succeeds; meanwhile questions wait or fail."""
    monkeypatch.setattr(link_module, "_PAUSE_SECONDS", 0.01)
    with folder() as home, _linked(home) as link:
        link.adopt([], [])
        pids = [link._child.process.pid]

        def adopt() -> None:
            pids.append(link._child.process.pid)
            if len(pids) < 4:
                raise ClusterFailed("a port is another program's for the moment")
            link.adopt([], [])

        link.after_restart(adopt)
        _kill(link)
        until(lambda: _is_answered(link))
        assert len(set(pids)) == 4
        assert pids[-1] == link._child.process.pid


def _is_answered(link: Link) -> bool:
    try:
        return link.endpoints() == {}
    except EngineGone:
        return False


def _whether_put_off(link: Link) -> SimpleQueue[bool]:
    """Of each question from now on, whether it has to wait for a supervisor, as soon as that is known."""
    told: SimpleQueue[bool] = SimpleQueue()
    send = link._send

    def noted(name: str, arguments: Mapping[str, object]) -> Future[Any] | None:
        future = send(name, arguments)
        told.put(future is None)
        return future

    link._send = noted  # type: ignore[method-assign]
    return told


def test_nothing_is_asked_of_a_supervisor_that_has_not_taken_over() -> None:
    """A question that comes before what is on record was handed over waits for that."""
    with folder() as home, ThreadPoolExecutor(1) as pool, _linked(home) as link:
        put_off = _whether_put_off(link)
        asked = pool.submit(link.endpoints)
        assert put_off.get(timeout=60)
        link.adopt([], [])
        assert asked.result(60) == {}


def test_what_is_asked_while_a_supervisor_is_replaced_waits_for_the_next() -> None:
    """Right after a supervisor's death each question fails at most once: the next one is answered by another."""
    gate = threading.Event()

    def adopt() -> None:
        assert gate.wait(60)
        link.adopt([], [])

    with folder() as home, ThreadPoolExecutor(1) as pool, _linked(home) as link:
        link.adopt([], [])
        link.after_restart(adopt)
        _kill(link)
        until(lambda: not link._adopted.is_set())
        put_off = _whether_put_off(link)
        asked = pool.submit(link.endpoints)
        assert put_off.get(timeout=60)
        gate.set()
        assert asked.result(60) == {}


def test_half_an_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that is killed while it writes is replaced, as at any other moment."""
    monkeypatch.setattr(link_module, "_PAUSE_SECONDS", 0.01)
    with folder() as home:
        with monkeypatch.context() as patch:
            patch.setattr(Child, "start", _answering('{"id":1,"resu'))
            link = Link(home, history_bytes=1 << 30)
        link.after_restart(lambda: link.adopt([], []))
        with pytest.raises(EngineGone, match="try again"):
            link.adopt([], [])
        until(lambda: _is_answered(link))
        link.close()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ('{"id":99,"result":null}', "KeyError: 99"),
        ('{"id":1}', "KeyError: 'result'"),
        ('{"id":1,"error":{"kind":"Unheard","message":""}}', "KeyError: 'Unheard'"),
    ],
)
def test_a_link_that_fails_lets_nobody_wait(
    answer: str, reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever ends the reading of answers, who has asked and who asks later is told, and the log has the reason."""
    with folder() as home:
        monkeypatch.setattr(Child, "start", _answering(f"{answer}\n"))
        link = Link(home, history_bytes=1 << 30)
        for _ in range(2):
            with pytest.raises(EngineGone, match="start the emulator anew"):
                link.adopt([], [])
        with pytest.raises(EngineGone, match="start the emulator anew"):
            link.endpoints()
        link.close()
    assert reason in caplog.text


def test_why_a_supervisor_does_not_start() -> None:
    """The error has the supervisor's own words and no traceback, and no further one is started."""
    processes.needs_proc()
    with folder() as home:
        (home / "certificate.pem").write_text("junk")
        with _linked(home) as link:
            with pytest.raises(EngineGone) as caught:
                link.adopt([], [])
            assert str(caught.value).startswith("The emulator's supervisor did not start:\n")
            assert f"{home}/certificate.pem cannot be used as the endpoints' certificate" in str(caught.value)
            assert "Traceback" not in str(caught.value)
            with pytest.raises(EngineGone, match="Delete it"):
                link.endpoints()
            assert processes.of(home) == []


def test_closing_while_a_supervisor_is_replaced() -> None:
    """At the very moment of its death too, a closed link leaves no supervisor."""
    processes.needs_proc()
    with folder() as home:
        for _ in range(5):
            link = Link(home, history_bytes=1 << 30)
            link.adopt([], [])
            _kill(link)
            link.close()
            assert processes.of(home) == []
            with pytest.raises(EngineGone):
                link.endpoints()


def test_a_supervisor_finds_what_relative_paths_lead_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the environment names relative to the caller's folder is the same to the supervisor, which has another."""
    processes.needs_proc()
    (tmp_path / "bin").symlink_to(local_postgres.find_binaries().folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POSTGRES_BIN", "bin")
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setenv("PYTHONPATH", f"more{os.pathsep}{os.environ.get('PYTHONPATH', '/nowhere')}")
    with folder() as home, _linked(home) as link:
        link.adopt([], [])
        given = Path(f"/proc/{link._child.process.pid}/environ").read_text()
    assert f"POSTGRES_BIN={tmp_path}/bin\0" in given
    assert f"XDG_CACHE_HOME={tmp_path}/cache\0" in given
    assert f"PYTHONPATH={tmp_path}/more{os.pathsep}/" in given


def test_a_supervisor_may_open_many_files() -> None:
    """A low limit of whoever has started the emulator is not that of its endpoints."""
    processes.needs_proc()
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with folder() as home:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, most))
        try:
            link = Link(home, history_bytes=1 << 30)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (now, most))
        link.adopt([], [])
        limits = Path(f"/proc/{link._child.process.pid}/limits").read_text()
        (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
        assert int(line.split()[3]) == (10_240 if most == resource.RLIM_INFINITY else min(most, 10_240))
        link.close()
