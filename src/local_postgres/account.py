"""Who runs the server: this process's own account, or, for root, one that Postgres accepts."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_postgres.errors import AccountError, FolderError, PlatformError

if sys.platform != "win32":
    import pwd

if TYPE_CHECKING:
    from pathlib import Path

ROOT = 0
_FOR_ROOT = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """An account of this machine, and commands run as it."""

    name: str
    uid: int
    gid: int

    @property
    def is_own(self) -> bool:
        """Whether this process runs as the account already."""
        return self.uid == os.geteuid()

    def run(self, *command: str | Path, pass_fds: tuple[int, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run a command as this account, out of reach of the caller's terminal, locale and `PG…` variables.

        Args:
            command: an absolute path and its arguments.
            pass_fds: the file descriptors that the command inherits.

        Returns:
            The finished process, output captured, whatever its status.

        Raises:
            AccountError: for root that may not act for another account, as in many containers.
            OSError: where the account may not execute the command.
        """
        switch: dict[str, Any] = {} if self.is_own else {"user": self.uid, "group": self.gid, "extra_groups": []}
        try:
            return subprocess.run(
                [os.fspath(word) for word in command],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                cwd="/",
                env=clean_environment(),
                start_new_session=True,
                umask=0o077,
                pass_fds=pass_fds,
                **switch,
            )
        except PermissionError as error:
            if self.is_own or error.errno != errno.EPERM:  # EACCES is the command's, EPERM the switch's
                raise
            raise AccountError(
                f"Postgres refuses to run as root, and this root may not act as {self.name}, as in many containers: "
                "run the command as an ordinary user, or set DATABASE_URL to a running Postgres."
            ) from error

    def reaches(self, folder: Path) -> bool:
        """Whether this account can enter an existing folder; tried, since mode bits do not tell of ACLs and mounts."""
        return self.is_own or self.run("/bin/sh", "-c", 'cd "$1"', "sh", folder).returncode == 0


def check_platform() -> None:
    """Refuse an operating system without accounts and file locks of the POSIX kind.

    Raises:
        PlatformError: on Windows.
    """
    if sys.platform == "win32":
        raise PlatformError(
            "local_postgres needs a POSIX system, and this is Windows: "
            "set DATABASE_URL to a running Postgres, or use WSL."
        )


def clean_environment() -> dict[str, str]:
    """What every process that this package starts gets as its environment."""
    return {"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath), "TZ": "UTC"}


def default_account() -> Account:
    """The account that would run a new cluster's server.

    Raises:
        AccountError: for root, where the machine has neither of the accounts that would do, and for a number without
            a name, as containers have it.
        PlatformError: on Windows.
    """
    check_platform()
    if os.geteuid() != ROOT:
        own = _account(os.geteuid(), os.getegid())
        if own.name == str(own.uid):
            raise AccountError(
                f"This process runs as {own.uid}, a number without an account, for which initdb makes no cluster: "
                "add it to /etc/passwd, or set DATABASE_URL to a running Postgres."
            )
        return own
    for name in _FOR_ROOT:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise AccountError(
        f"Postgres refuses to run as root, and this machine has none of the accounts {', '.join(_FOR_ROOT)}: "
        "run the command as an ordinary user, or make one of them."
    )


def owner_of(data: Path) -> Account:
    """The account that runs the server of a data folder: its owner, or the default where the folder is still missing.

    Raises:
        FolderError: where the owner is root, or somebody whom this process cannot act for.
    """
    try:
        status = data.stat()
    except FileNotFoundError:
        return default_account()
    except OSError as error:
        raise FolderError(f"{data} cannot be used for a cluster: {error.strerror}. Name another folder.") from error
    if status.st_uid == ROOT:
        raise FolderError(
            f"{data} belongs to root, and Postgres refuses to run as root: "
            "give it to an ordinary account with chown -R, or name another folder."
        )
    owner = _account(status.st_uid, status.st_gid)
    if os.geteuid() not in {ROOT, owner.uid}:
        raise FolderError(f"{data} belongs to {owner.name}: run the command as {owner.name}, or name another folder.")
    return owner


def _account(uid: int, gid: int) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Account(str(uid), uid, gid)
    return Account(entry.pw_name, uid, entry.pw_gid)
