"""What the client finds around it: proxies, certificates, packages, signals."""

from __future__ import annotations

import http.server
import json
import logging
import sys
import threading
from typing import TYPE_CHECKING

import pytest
import stamina
from tests.neon.client.stubs import KEY, page, raw_branch

from flask_branches import ConfigurationError, NeonError
from flask_branches.neon_client import BranchInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.neon.client.stubs import Stub

    from flask_branches.neon_client import NeonClient


@pytest.mark.parametrize("proxy", ["HTTP_PROXY", "ALL_PROXY", "http_proxy"])
def test_no_proxy_sees_what_stays_on_this_machine(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    """The environment's is for other hosts."""
    through = stub((418, {}))
    monkeypatch.setenv(proxy, through.host.removesuffix("/api/v2"))
    assert connect(stub((200, page(0, 0))).host).branches() == []
    assert through.asked == []


def test_a_proxy_is_used_for_other_hosts(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked to connect, and sees no key; one that refuses is told with the host."""
    seen: list[str] = []
    with _proxy(seen) as address:
        monkeypatch.setenv("HTTPS_PROXY", address)
        with pytest.raises(NeonError, match=r"neon\.example cannot be reached.*or proxy on the way"):
            connect("https://neon.example/api/v2", patience=0.3).branches()
    assert any(line.startswith("CONNECT neon.example:443") for line in seen)
    assert KEY not in "".join(seen)


class _proxy:  # noqa: N801  it is used like a function
    """A proxy that refuses, and writes down what it is asked."""

    def __init__(self, seen: list[str]) -> None:
        class Refusing(http.server.BaseHTTPRequestHandler):
            def do_CONNECT(self) -> None:
                seen.extend([self.requestline, str(self.headers)])
                self.send_error(407)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Nothing is to be printed."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> str:
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.mark.parametrize(("name", "value"), [("HTTPS_PROXY", "nonsense://x"), ("SSL_CERT_FILE", "/no/such/file")])
def test_an_environment_that_cannot_be_used_is_told(
    connect: Callable[..., NeonClient], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """By the names of its variables."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name):
        connect("https://neon.example/api/v2")


@pytest.mark.parametrize("name", ["httpx2", "stamina"])
def test_what_is_not_installed_is_told(
    connect: Callable[..., NeonClient], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigurationError, match=r"pip install httpx2 stamina\."):
        connect("http://127.0.0.1:1")


@pytest.fixture(params=["inactive", "testing"])
def no_repeats(request: pytest.FixtureRequest) -> Iterator[None]:
    """What the conftest of an application may do, for its own sake."""
    if request.param == "inactive":
        stamina.set_active(False)
    else:
        stamina.set_testing(True)
    yield
    stamina.set_active(True)
    stamina.set_testing(False)


def test_repeats_that_are_switched_off_are_told(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], no_repeats: None
) -> None:
    """The switch of stamina is one for the whole process; the error says that it is off."""
    client = connect(stub((423, {"message": "busy"})).host)
    with pytest.raises(
        NeonError, match=r"at the first try, and stamina's repeats are switched off in this process: .*busy"
    ):
        client.branches()
    assert client.requests == 1


def test_a_repeat_is_not_printed(stub: Callable[..., Stub], connect: Callable[..., NeonClient]) -> None:
    """Each is logged by stamina; where nobody listens, Python would print it."""
    connect(stub((423, {}), (200, page(0, 0))).host).branches()
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("stamina").handlers)


def test_ctrl_c_ends_a_call(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and as itself."""
    client = connect(stub((423, {})).host)

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        client.branches()
    assert client.requests == 1


@pytest.mark.parametrize("value", [None, 5, ["x"]])
def test_a_uri_that_is_none_is_not_handed_on(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], value: object
) -> None:
    """A branch that cannot be connected to is no branch."""
    with pytest.raises(NeonError, match="'uri'"):
        connect(stub((200, {"uri": value})).host).connection_uri("br-a-b-c", database="a", role="b")


def test_a_branch_can_be_written_as_json() -> None:
    """It has nothing but plain values."""
    assert json.dumps(BranchInfo.of(raw_branch(1)).annotation) == "{}"
