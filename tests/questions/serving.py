"""The service under gunicorn, with the project's own settings."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from questions.shipped import shipped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE = 60


class Service:
    """A running gunicorn."""

    def __init__(self, process: subprocess.Popen[str], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self._log = log

    def get(self, path: str) -> tuple[int, str, Any]:
        """Status, content type, JSON; status 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=DEADLINE) as answer:
                return answer.status, answer.headers["Content-Type"], json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"], json.load(error)
        except (urllib.error.URLError, ConnectionError):
            return 0, "", None

    def send(self, raw: bytes) -> bytes:
        """What is answered to bytes that no client library would send."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE) as connection:
            connection.sendall(raw)
            return b"".join(iter(lambda: connection.recv(65_536), b""))

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8")


@contextmanager
def gunicorn(folder: Path, app: str, **variables: str) -> Iterator[Service]:
    """Gunicorn with the project's own settings."""
    command = [sys.executable, "-m", "gunicorn", "-c", str(shipped("config") / "gunicorn.conf.py"), app]
    log = folder / "gunicorn.log"
    # Handed over while it listens: a port that is merely found to be free may be somebody else's a moment later.
    with log.open("w") as stream, socket.create_server(("127.0.0.1", 0)) as listening:
        port, file = int(listening.getsockname()[1]), listening.fileno()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "GUNICORN_CMD_ARGS": f"--bind fd://{file}", **variables},
            stdout=stream,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=(file,),
        )
    try:
        yield Service(process, port, log)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(DEADLINE)
