"""Where a cluster lies, and folders made so that nobody else can have prepared them."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from local_postgres.account import ROOT, default_account, owner_of
from local_postgres.errors import FolderError

if TYPE_CHECKING:
    from local_postgres.account import Account

DATA = "data"
DOOMED = ".gone-"
_PRIVATE = 0o700
_PUBLIC = 0o755
_SHELTERS = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108 - only below a folder of root's own, see make_public
_SHELTER = "local_postgres"
_SHORT = Path("/tmp")  # noqa: S108 - not the caller's TMPDIR, which may be long; see make_private
_LONGEST_SOCKET = ".s.PGSQL.65535"
_SOCKET_LIMIT = 107 if sys.platform == "linux" else 103
_REMOVE_SECONDS = 10.0
_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EPERM}


def digest(path: Path) -> str:
    """A short name for a path."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def place(folder: Path) -> Path:
    """Where a cluster that is wanted in a folder really lies.

    That is the folder itself, unless root asks and the account that runs the server cannot get there.

    Raises:
        FolderError: for a path with a line break, or of a file, or where no reachable place is left.
    """
    wanted = Path(os.path.realpath(folder))
    if "\n" in str(wanted):
        raise FolderError(f"{str(wanted)!r} has a line break in it, which Postgres cannot store: name another folder.")
    existing = next(path for path in (wanted, *wanted.parents) if os.path.lexists(path))
    if not existing.is_dir():
        raise FolderError(f"{existing} is a file: name a folder.")
    if os.geteuid() != ROOT:
        return wanted
    if owner_of(wanted / DATA).reaches(existing):
        return wanted
    return shelter(default_account()) / digest(wanted)


def shelter(account: Account) -> Path:
    """The folder of root's for what an account must reach and cannot where it lies; made where it is missing.

    Raises:
        FolderError: where there is none, or somebody else has made one of that name.
    """
    for base in _SHELTERS:
        if os.access(base, os.W_OK) and account.reaches(base):
            return make_public(base / _SHELTER)
    places = " nor ".join(map(str, _SHELTERS))
    raise FolderError(f"Neither {places} can be written by root and entered by {account.name}: name another folder.")


def make_home(home: Path, wanted: Path, account: Account) -> None:
    """Make the folder of a cluster, and, where it lies elsewhere, a symbolic link at the place where it was wanted.

    Raises:
        FolderError: where one of them cannot be made.
    """
    try:
        _make_parents(home)
        if not home.is_dir():
            make_private(home, account)
        if home != wanted:
            _make_parents(wanted)
            _link(wanted, home, account)
    except OSError as error:
        raise FolderError(
            f"{error.filename or home} cannot be made: {error.strerror}. Name a folder that you may write to."
        ) from error


def make_private(folder: Path, account: Account) -> Path:
    """Make a folder of mode 0700 for an account, or accept the one that is there if it is such a folder.

    Raises:
        FolderError: where the folder is somebody else's or open to others.
    """
    if not os.path.lexists(folder):
        new = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
        new.mkdir(_PRIVATE)
        try:
            _own(new, account.uid, account.gid, _PRIVATE)
            new.rename(folder)
        except OSError as error:
            new.rmdir()
            if error.errno not in _TAKEN:
                raise
    _check_private(folder, account)
    return folder


def make_public(folder: Path) -> Path:
    """Make a folder that this account alone writes and everybody reads, or accept such a one.

    Raises:
        FolderError: where the folder is somebody else's or others may write to it.
    """
    try:
        folder.mkdir(_PUBLIC)
    except FileExistsError:
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise FolderError(f"{folder} was made by somebody else, or others may write to it: remove it.") from None
    else:
        _own(folder, os.geteuid(), os.getegid(), _PUBLIC)
    return folder


def socket_folder(home: Path) -> Path:
    """The folder of a cluster's socket: its own, unless the path would be too long, or odd, for a client.

    A comma, for one, separates two hosts for libpq, and so does a colon in some URLs.
    """
    inside = home / "socket"
    length = len(os.fsencode(inside / _LONGEST_SOCKET))
    if length <= _SOCKET_LIMIT and re.fullmatch(r"[\w./+~-]+", str(inside), re.ASCII):
        return inside
    return _SHORT / f"pg-{digest(home)}"


def remove_socket_folder(home: Path, account: Account) -> None:
    """Remove the socket's folder where it is the one outside of the cluster's own."""
    folder = socket_folder(home)
    if folder.parent == _SHORT and folder.exists():
        _check_private(folder, account)
        remove_tree(folder)


def flush(folder: Path) -> None:
    """Bring a folder's names to the disk, so that a renamed entry survives a power failure."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def discard(folder: Path) -> None:
    """Delete a folder with all that is in it; from the first moment its name is free for a new one.

    Raises:
        FolderError: where something keeps it alive.
    """
    doomed = folder.with_name(f"{folder.name}{DOOMED}{secrets.token_hex(4)}")
    try:
        folder.rename(doomed)
    except FileNotFoundError:
        return
    remove_tree(doomed)


def remove_tree(folder: Path) -> None:
    """Delete a folder in which a dying process may still be writing.

    Raises:
        FolderError: where something keeps it alive.
    """
    limit = time.monotonic() + _REMOVE_SECONDS
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
        if time.monotonic() > limit:
            raise FolderError(f"{folder} cannot be deleted: see who writes to it, and delete it by hand.")


def _make_parents(folder: Path) -> None:
    """Parents that others may pass, whatever root's umask: the server's account is one of them."""
    if os.geteuid() != ROOT:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return
    for parent in reversed(folder.parents):
        try:
            parent.mkdir(_PUBLIC)
        except FileExistsError:
            continue
        _own(parent, os.geteuid(), os.getegid(), _PUBLIC)


def _own(folder: Path, uid: int, gid: int, mode: int) -> None:
    """Give a folder that was just made its owner and mode, and never what was put in its place meanwhile."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(file).st_uid != os.geteuid():
            raise FolderError(f"{folder} was replaced by somebody else while it was made: name another folder.")
        os.fchmod(file, mode)
        if os.geteuid() == ROOT:
            os.fchown(file, uid, gid)
    finally:
        os.close(file)


def _check_private(folder: Path, account: Account) -> None:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != account.uid or stat.S_IMODE(status.st_mode) & 0o077:
        raise FolderError(f"{folder} is not a private folder of {account.name}: remove it, or name another folder.")


def _link(wanted: Path, home: Path, account: Account) -> None:
    if wanted.is_dir() and not wanted.is_symlink():
        if any(wanted.iterdir()):
            raise FolderError(
                f"{wanted} cannot be reached by {account.name}, who has to run the server, and is not empty: "
                "move it to a folder that everybody may pass, or name another folder."
            )
        wanted.rmdir()
    try:
        wanted.symlink_to(home)
    except FileExistsError:
        if Path(os.path.realpath(wanted)) != home:
            raise
