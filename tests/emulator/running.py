"""An emulator as its users have it: a process of its own, asked over HTTP, its branches over Postgres's protocol."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx2
import psycopg

import neon_emulator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SOURCE = Path(neon_emulator.__file__).resolve().parents[1]
_SECONDS = 60.0

NEVER_TOLD = ("password authentication failed", "internal error")
"""What a client with the right password is not told, whatever has just been killed: it would not try again."""


def until(condition: Callable[[], object], seconds: float = _SECONDS) -> None:
    """Wait for a condition."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"{condition} did not come true"
        time.sleep(0.02)


def clean_environment() -> dict[str, str]:
    """The environment without what would lead a client or a Postgres elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "NEON_"))}
    path = os.pathsep.join(filter(None, [str(_SOURCE), os.environ.get("PYTHONPATH", "")]))
    return kept | {"PYTHONPATH": path}


def start_command(*arguments: str | os.PathLike[str], **options: Any) -> subprocess.Popen[str]:
    """Start `neon-emulator` with arguments."""
    words = [os.fspath(word) for word in arguments]
    command = [sys.executable, "-c", "from neon_emulator.cli import main; main()", *words]
    settings: dict[str, Any] = {
        "stdout": subprocess.PIPE,
        "text": True,
        "env": clean_environment(),
        "start_new_session": True,
    }
    return subprocess.Popen(command, **(settings | options))


@dataclass
class Emulator:
    """A process that runs `neon-emulator serve`."""

    data: Path
    options: tuple[str, ...] = ()
    process: subprocess.Popen[str] | None = None
    exported: dict[str, str] = field(default_factory=dict)

    def start(self) -> Self:
        """Start it, and wait until it has said that it is ready."""
        self.process = start_command("serve", "--data", self.data, *self.options)
        assert self.process.stdout is not None
        self.exported, exported = {}, dict[str, str]()
        for line in self.process.stdout:
            if not line.startswith("export "):
                break
            name, _, value = line.removeprefix("export ").strip().partition("=")
            exported[name] = value
        assert exported, "the emulator did not start"
        self.exported = exported  # all at once: other threads may look
        return self

    def stop(self) -> int:
        """End it in order, and return its status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as nobody should."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> int:
        if self.process is None:
            return 0
        process, self.process = self.process, None
        process.send_signal(number)
        status = process.wait(_SECONDS)
        if process.stdout is not None:
            process.stdout.close()
        return status

    def client(self, key: str | None = None) -> Client:
        """A client of the API; by default with the right key."""
        key = self.exported["NEON_API_KEY"] if key is None else key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        base = self.exported["NEON_API_HOST"]
        return Client(httpx2.Client(base_url=base, headers=headers, timeout=_SECONDS, trust_env=False))


@dataclass
class Client:
    """Asks the API."""

    http: httpx2.Client

    def ask(self, method: str, path: str, status: int = 200, json: Any = None, **options: Any) -> Any:
        """Ask, check the status, and return the body; None where there is none."""
        if json is not None:
            options["json"] = json
        answer = self.http.request(method, path.lstrip("/"), **options)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def get(self, path: str, status: int = 200, **options: Any) -> Any:
        """Ask with GET."""
        return self.ask("GET", path, status, **options)

    def post(self, path: str, json: Any = None, status: int = 201, **options: Any) -> Any:
        """Ask with POST."""
        return self.ask("POST", path, status, json, **options)

    def patch(self, path: str, json: Any = None, status: int = 200, **options: Any) -> Any:
        """Ask with PATCH."""
        return self.ask("PATCH", path, status, json, **options)

    def delete(self, path: str, status: int = 200, **options: Any) -> Any:
        """Ask with DELETE."""
        return self.ask("DELETE", path, status, **options)

    def control(self, method: str, path: str, json: Any = None, status: int = 200) -> Any:
        """Ask a control endpoint, such as `clock`."""
        base = str(self.http.base_url).removesuffix("/").removesuffix("/api/v2")
        answer = self.http.request(method, f"{base}/_emulator/{path}", json=json)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def advance(self, seconds: float) -> None:
        """Move the emulator's clock on."""
        self.control("POST", "clock", {"advance": seconds})

    def project(self, **settings: Any) -> Project:
        """Make a project, ready to be used."""
        made = self.post("/projects", {"project": {"name": "test"} | settings})
        project = Project(self, made["project"]["id"], made)
        project.settle()
        return project


@dataclass
class Project:
    """A project, and shorthands for what most tests do in one."""

    client: Client
    id: str
    made: Mapping[str, Any]

    @property
    def path(self) -> str:
        """The prefix of its paths."""
        return f"/projects/{self.id}"

    @property
    def main(self) -> str:
        """The id of the branch that it was made with."""
        return str(self.made["branch"]["id"])

    def settle(self) -> None:
        """Wait until all operations have ended."""
        until(lambda: all(one["status"] in {"finished", "skipped", "cancelled"} for one in self.operations()))

    def operations(self) -> list[dict[str, Any]]:
        """All operations, the newest first."""
        found: list[dict[str, Any]] = self.client.get(f"{self.path}/operations", params={"limit": 1000})["operations"]
        return found

    def branch(self, *, settle: bool = True, compute: bool = True, **branch: Any) -> dict[str, Any]:
        """Make a branch, by default with an endpoint, and return the answer."""
        body = {"branch": branch, "endpoints": [{"type": "read_write"}] if compute else []}
        made: dict[str, Any] = self.client.post(f"{self.path}/branches", body)
        if settle:
            self.settle()
        return made

    def branches(self) -> list[dict[str, Any]]:
        """All branches."""
        found: list[dict[str, Any]] = self.client.get(f"{self.path}/branches")["branches"]
        return found

    def uri(self, branch: str | None = None, database: str = "neondb", role: str = "neondb_owner") -> str:
        """The URI of a branch, by default the one that the project was made with."""
        parameters = {"branch_id": branch or self.main, "database_name": database, "role_name": role}
        return str(self.client.get(f"{self.path}/connection_uri", params=parameters)["uri"])

    def connect(self, branch: str | None = None, **options: Any) -> psycopg.Connection[Any]:
        """A session of the owner's in a branch."""
        return psycopg.connect(self.uri(branch, **options), autocommit=True)

    def query(self, statement: str, branch: str | None = None) -> list[tuple[Any, ...]]:
        """Run a statement in a branch, and return its rows."""
        with self.connect(branch) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []
