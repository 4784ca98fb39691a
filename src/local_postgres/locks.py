"""Locks on files, which the kernel takes back when their holder dies.

All are `flock` locks: they belong to the open file, so that a forked child shares them, and a program that is executed
does not, because Python closes the file on exec.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from local_postgres.account import ROOT
from local_postgres.errors import FolderError

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_READING = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)
_FLAGS = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)


def create_file(path: Path, uid: int, gid: int) -> int:
    """Open a file for reading and writing, never through a symbolic link; a new one is given away where root makes it.

    Raises:
        FileNotFoundError: where the folder is gone.
        FolderError: where the file cannot be opened.
    """
    try:
        try:
            file = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return os.open(path, _FLAGS)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _not_opened(path, error) from error
    if os.geteuid() == ROOT:
        os.fchown(file, uid, gid)
    return file


def lock_shared(path: Path) -> int:
    """Wait for a shared lock, and return the open file that holds it."""
    return _locked(path, fcntl.LOCK_SH)


def lock_alone(path: Path) -> int:
    """Wait until nobody else holds a lock, and return the open file that holds it now."""
    return _locked(path, fcntl.LOCK_EX)


def try_lock(path: Path) -> int | None:
    """Take a lock that nobody else holds, or return None at once."""
    try:
        return _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock alone for the time of a block."""
    file = lock_alone(path)
    try:
        yield
    finally:
        unlock(file)


def unlock(file: int) -> None:
    """Let go of a lock; not left to close, since a child that another thread forks meanwhile holds the same file."""
    fcntl.flock(file, fcntl.LOCK_UN)
    os.close(file)


@contextmanager
def tried(path: Path) -> Iterator[bool]:
    """Hold a lock alone for the time of a block if nobody else holds it; tell whether that is so."""
    file = try_lock(path)
    try:
        yield file is not None
    finally:
        if file is not None:
            unlock(file)


def is_held(path: Path) -> bool:
    """Whether somebody holds a file's lock alone; where there is no file, none is made, which would be left.

    Raises:
        FolderError: where the file cannot be opened.
    """
    try:
        file = os.open(path, _READING)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _not_opened(path, error) from error
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return True
    unlock(file)
    return False


def is_current(file: int, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _locked(path: Path, kind: int) -> int:
    folder = path.parent.stat()
    file = create_file(path, folder.st_uid, folder.st_gid)
    try:
        fcntl.flock(file, kind)
    except BaseException:
        os.close(file)
        raise
    return file


def _not_opened(path: Path, error: OSError) -> FolderError:
    return FolderError(f"{path} cannot be opened: {error.strerror}. Name a folder that you may write to.")
