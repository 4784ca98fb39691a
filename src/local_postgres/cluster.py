"""One Postgres cluster: its data made, its server started and stopped."""

from __future__ import annotations

import os
import secrets
import signal
import time
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from local_postgres import folders, locks, postmaster
from local_postgres.account import check_platform, owner_of
from local_postgres.address import SUPERUSER, Address
from local_postgres.binaries import Binaries, find_binaries
from local_postgres.errors import FolderError, ServerError, SettingsError
from local_postgres.settings import THROWAWAY, checked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_postgres.account import Account

_START_SECONDS = 120.0
_STOP_SECONDS = 30.0
_IMMEDIATE_SECONDS = 15.0
_POLL_SECONDS = 0.01
_LOG_LINES = 20
_LOG_BYTES = 10_000
_BUILTIN_LOCALE = 17
_THROWAWAY_MARK = "throwaway"

# The shell goes at once, so that the server is nobody's child: no zombie, and no word about it from `subprocess`.
# It opens the log as the server's account; whatever that account has put at the log's place, root does not write to.
_LAUNCH = 'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 &'


class Cluster:
    """A Postgres cluster in a folder, reached by a Unix socket that only its own account and root can open.

    Args:
        folder: what the cluster is kept in; made at the first start.
        settings: server settings that go before those of the cluster's own files, such as
            `{"listen_addresses": "127.0.0.1", "port": "15432"}`; over TCP a password is needed. They take effect when
            the server starts: one that runs already is used as it is.
        throwaway: trade durability for speed, and mark the folder as one that may be deleted.

    Raises:
        PlatformError: on Windows.
        SettingsError: for a setting that is not a server's, or that would move the socket.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, settings: Mapping[str, str] | None = None, throwaway: bool = False
    ) -> None:
        """Take the wishes down; nothing is made or started."""
        check_platform()
        self.folder = Path(folder).absolute()
        self.throwaway = throwaway
        self._settings = checked(settings or {})

    @cached_property
    def home(self) -> Path:
        """The folder that the cluster really lies in: elsewhere where root's server could not reach `folder`."""
        return folders.place(self.folder)

    @property
    def data(self) -> Path:
        """The server's data folder."""
        return self.home / folders.DATA

    @property
    def log(self) -> Path:
        """What the server writes its messages to."""
        return self.home / "log"

    @property
    def port(self) -> int:
        """The port, which is also part of the socket's name."""
        return int(self._settings["port"])

    @property
    def socket_folder(self) -> Path:
        """The folder of the socket; a short one in /tmp where the path would be too long, or odd, for a client."""
        return folders.socket_folder(self.home)

    @property
    def address(self) -> Address:
        """Where clients connect, before and after every stop and start."""
        return Address(str(self.socket_folder), self.port)

    @property
    def account(self) -> Account:
        """The account that runs the server."""
        return owner_of(self.data)

    def is_running(self) -> bool:
        """Whether the server takes connections.

        Raises:
            FolderError: where the cluster is another account's.
        """
        owner_of(self.data)
        server = self._server()
        return server is not None and server.ready

    def is_throwaway(self) -> bool:
        """Whether the folder was made for a throwaway cluster, and may be deleted."""
        return (self.home / _THROWAWAY_MARK).exists()

    def start(self) -> None:
        """Start the server, and make the cluster before, where either is missing; return when it takes connections.

        Raises:
            BinariesError: where no Postgres can be found, or one of another version has made the data.
            FolderError: where the folder cannot be used.
            ServerError: where initdb or the server fails; the text ends with what they said.
            SettingsError: where the server runs already, on another port.
        """
        self.prepare()
        with locks.locked(self.home / "start.lock"):
            if not self.is_running():
                binaries = find_binaries(self.account)
                self._make_data(binaries)
                self._bring_up(binaries)
        server = self._server()
        if server is not None and server.port not in {None, self.port}:
            raise SettingsError(f"The cluster in {self.folder} runs on port {server.port}: stop it to use {self.port}.")

    def stop(self, *, timeout: float = _STOP_SECONDS) -> None:
        """Stop the server, and what is left of one that was killed; without effect where there is none.

        Args:
            timeout: seconds for an orderly stop, which ends sessions and writes everything out; after that the
                server is told to leave at once, and recovers when it is started again.

        Raises:
            FolderError: where the cluster is another account's.
            ServerError: where the server does not even obey that.
        """
        account = self.account
        limit = time.monotonic() + timeout
        while (server := self._server()) or self._is_held():
            late = time.monotonic() - limit
            if late > _IMMEDIATE_SECONDS:
                raise ServerError(f"The server in {self.folder} does not stop:{self._log_tail(0)}")
            if server is None:
                postmaster.end_orphans(self.data, account)
            else:
                with suppress(ProcessLookupError):
                    os.kill(server.pid, signal.SIGQUIT if late > 0 else signal.SIGINT)
            time.sleep(_POLL_SECONDS)  # the server is nobody's child: only its files tell how far it is
        folders.remove_socket_folder(self.home, account)

    def prepare(self) -> None:
        """Make the folder.

        Raises:
            FileNotFoundError: where it is deleted meanwhile.
            FolderError: where it cannot be made, or durable and throwaway would share it.
        """
        wanted = Path(os.path.realpath(self.folder))
        folders.make_home(self.home, wanted, self.account)
        names = os.listdir(self.home)  # noqa: PTH208 - in one go: the mark is always the first file of a folder
        if self.throwaway and names and _THROWAWAY_MARK not in names:
            raise FolderError(f"{self.folder} is not empty, and would be deleted in the end: name a new folder.")
        if self.throwaway:
            os.close(locks.create_file(self.home / _THROWAWAY_MARK, self.account.uid, self.account.gid))
        elif self.is_throwaway():
            raise FolderError(f"{self.folder} is a throwaway cluster's, and will be deleted: name another folder.")

    def _make_data(self, binaries: Binaries) -> None:
        try:
            version = (self.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            self._initdb(binaries)
        else:
            if version != str(binaries.version):
                raise ServerError(
                    f"{self.data} was made by Postgres {version}, and {binaries.folder} is version {binaries.version}: "
                    f"set POSTGRES_BIN to the bin folder of a Postgres {version}, or move the folder away."
                )

    def _initdb(self, binaries: Binaries) -> None:
        for leftover in self.home.glob("data.new-*"):
            folders.remove_tree(leftover)
        new = folders.make_private(self.home / f"data.new-{secrets.token_hex(4)}", self.account)
        try:
            result = self.account.run(binaries.tool("initdb"), "-D", new, *self._initdb_options(binaries.version))
            if result.returncode != 0:
                raise ServerError(f"initdb failed for {self.folder}:{_tail(result.stdout + result.stderr)}")
            self._put_in_place(new)
        finally:
            folders.remove_tree(new)

    def _put_in_place(self, new: Path) -> None:
        try:
            new.rename(self.data)
        except OSError as error:
            raise FolderError(f"{self.data} is in the way, and no cluster: move it, or name another folder.") from error
        folders.flush(self.home)

    def _initdb_options(self, version: int) -> list[str]:
        options = [f"--username={SUPERUSER}", "--auth-local=trust", "--auth-host=scram-sha-256"]
        options += ["--encoding=UTF8", "--locale=C"]
        if version >= _BUILTIN_LOCALE:
            options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        return [*options, "--no-sync"] if self.throwaway else options

    def _bring_up(self, binaries: Binaries) -> None:
        limit = time.monotonic() + _START_SECONDS
        said = self.log.stat().st_size if self.log.exists() else 0
        launched = False
        while not (server := self._server()) or not server.ready:
            if not launched and server is None:
                launched = self._launch(binaries)
            elif launched and not self._is_held():
                raise ServerError(f"The server in {self.folder} did not start:{self._log_tail(said)}")
            if time.monotonic() > limit:
                raise ServerError(
                    f"The server in {self.folder} was not ready in time; it may be recovering, or another container's: "
                    f"try again later, or stop that one.{self._log_tail(said)}"
                )
            time.sleep(_POLL_SECONDS)  # the server is nobody's child: only its files tell how far it is

    def _launch(self, binaries: Binaries) -> bool:
        """Start a server unless processes of an earlier one are alive; those that are left behind are ended."""
        account = self.account
        lock = locks.try_lock(self.home / "server.lock")
        if lock is None:
            postmaster.end_orphans(self.data, account)
            return False
        try:
            folders.make_private(self.socket_folder, account)
            postmaster.forget_stale(self.data, self.socket_folder, account)
            os.close(locks.create_file(self.log, account.uid, account.gid))
            server: list[str | Path] = [binaries.tool("postgres"), "-D", self.data, *self._options()]
            # The server and its children inherit the lock: who holds it alone knows that all of them are gone.
            result = account.run("/bin/sh", "-c", _LAUNCH, "sh", self.log, *server, pass_fds=(lock,))
        finally:
            os.close(lock)
        if result.stderr:
            raise ServerError(f"The server in {self.folder} could not be run:{_tail(result.stderr)}")
        return True

    def _options(self) -> list[str]:
        # Quoted, since it is a list: a comma in a path would end it.
        sockets = '"' + str(self.socket_folder).replace('"', '""') + '"'
        settings = {"listen_addresses": "", **(THROWAWAY if self.throwaway else {}), **self._settings}
        settings |= {"unix_socket_directories": sockets, "unix_socket_permissions": "0700"}
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _server(self) -> postmaster.Postmaster | None:
        server = postmaster.find(self.data)
        # Where nobody tells whose process a pid is, a stale one may be anybody's; whoever lives holds the lock.
        return server if postmaster.tells_processes_apart() or self._is_held() else None

    def _is_held(self) -> bool:
        path = self.home / "server.lock"
        if not path.exists():
            return False
        with locks.tried(path) as free:
            return not free

    def _log_tail(self, start: int) -> str:
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(start, self.log.stat().st_size - _LOG_BYTES))
            return _tail(log.read().decode(errors="replace"))


def _tail(text: str) -> str:
    return "\n" + "\n".join(text.strip().splitlines()[-_LOG_LINES:])
