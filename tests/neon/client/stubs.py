"""What the tests of the client ask: a server that says what no emulator would, and an emulator that fails on demand."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.emulator.running import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulator.running import Emulator, Project

    from flask_branches.neon_client import NeonClient

KEY = "napi_a-key-for-tests"
PROJECT = "old-violet-32930710"

Canned = tuple[int, object, dict[str, str]]


@dataclass
class Stub:
    """A server that gives the answers it is told, in their order, the last one again and again."""

    answers: list[Canned | Callable[[str], Canned]]
    server: ThreadingHTTPServer
    asked: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/api/v2"

    def answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> Canned:
        with self.lock:
            self.asked.append((method, path, headers, body))
            canned = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return canned(path) if callable(canned) else canned


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stub: Stub

    def _serve(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, body, more = self.stub.answer(self.command, self.path, headers, json.loads(sent) if sent else None)
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response_only(status)  # without the headers of its own
        for name, value in ({"Content-Type": "application/json", "Content-Length": str(len(raw))} | more).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815  the base calls them so

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the base's
        """Nothing is to be printed."""


def canned(status: int, body: object = b"", headers: dict[str, str] | None = None) -> Canned:
    return status, body, headers or {}


@dataclass
class World:
    """A project in an emulator, a client of it, and what the two make of faults."""

    emulator: Emulator
    project: Project
    connect: Callable[..., NeonClient]
    client: NeonClient

    def new_client(self, **options: Any) -> NeonClient:
        """Another client."""
        return self.connect(*self.where, **options)

    @property
    def where(self) -> tuple[str, str, str]:
        """The host, the key and the project."""
        return self.emulator.exported["NEON_API_HOST"], self.emulator.exported["NEON_API_KEY"], self.project.id

    def fault(self, method: str, path: str, **effect: Any) -> None:
        """Let requests below the project meet a fault."""
        self.project.client.control(
            "POST", "faults", {"method": method, "path": self.project.path + path} | effect, 201
        )

    def forget(self) -> None:
        """Count requests from now on."""
        self.project.client.control("DELETE", "requests", status=204)

    def _asked(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.project.client.control("GET", "requests")["requests"]
        return [one for one in found if one["path"].startswith(self.project.path)]

    def asked(self) -> list[str]:
        """What was asked, as a method and a path below the project, ids written as ``*``."""
        until(lambda: all(one["status"] is not None for one in self._asked()))
        paths = [(one["method"], one["path"].removeprefix(self.project.path)) for one in self._asked()]
        return [f"{method} {_without_ids(path)}" for method, path in paths]

    def clear(self) -> None:
        """Leave no fault, and no branch but the one that there was."""
        self.asked()
        self.project.client.control("DELETE", "faults", status=204)
        for branch in self.project.branches():
            if not branch["default"]:
                self.project.client.delete(f"{self.project.path}/branches/{branch['id']}")
        self.project.settle()

    def names(self) -> list[str]:
        """The names of all branches, sorted; nothing is at work any more."""
        self.asked()
        return sorted(branch["name"] for branch in self.project.branches())


def _without_ids(path: str) -> str:
    return "/".join("*" if part.startswith(("br-", "ep-")) else part for part in path.split("/"))


def raw_branch(number: int) -> dict[str, Any]:
    told = {"id": f"br-{number}-b-c", "name": f"branch-{number}", "current_state": "ready"}
    return told | {"default": False, "protected": False, "created_at": "2026-01-02T03:04:05Z"}


def page(first: int, count: int, following: object = "more") -> dict[str, Any]:
    branches = [raw_branch(number) for number in range(first, first + count)]
    return {"branches": branches, "annotations": {}, "pagination": {"next": following}}
