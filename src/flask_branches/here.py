"""Locks that hold on this machine alone, for databases whose service has none that outlive a connection."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flask_branches.backends.sqlite_files import LOCK, file_lock
from flask_branches.errors import ConfigurationError
from local_postgres import locks

if TYPE_CHECKING:
    from collections.abc import Iterator

_PRIVATE = 0o700
_PLACE = "place"


def place() -> str:
    """What tells this machine's locks from those of every other machine, container or account."""
    file = _folder() / _PLACE
    if not file.exists():
        new = file.with_name(f"{_PLACE}.{secrets.token_hex(4)}")
        new.write_text(secrets.token_hex(8))
        try:
            os.link(new, file)
        except FileExistsError:
            pass  # another process was faster, and what it has written counts
        finally:
            new.unlink()
    found = file.stat()
    # An image of a machine may hold the file: then it is the same on several, whose locks are not.
    return f"{file.read_text()}-{found.st_dev:x}-{found.st_ino:x}-{_boot()}"


@contextmanager
def locked(what: str) -> Iterator[None]:
    """Hold a lock alone for the time of a block; it ends with its process, however that ends."""
    with file_lock(_file(what)):
        yield


def is_held(what: str) -> bool:
    """Whether a process of this account is in such a block."""
    return locks.is_held(_file(what))


def _boot() -> str:
    """What differs from one start of a machine to the next, as far as it tells."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _file(what: str) -> Path:
    return _folder() / f"{hashlib.sha256(what.encode()).hexdigest()[:16]}{LOCK}"


def _folder() -> Path:
    """A folder that nobody else can write to: where anybody can, somebody may have made one of its name before."""
    folder = Path(tempfile.gettempdir()) / f"flask_branches-{os.getuid()}"
    folder.mkdir(_PRIVATE, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigurationError(f"{folder} is somebody else's, or open to others: remove it, or set TMPDIR.")
    return folder
