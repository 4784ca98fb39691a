"""The folder of an emulator's data: where it lies, who uses it, and its key."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import local_postgres
from local_postgres import folders, locks
from local_postgres.account import default_account, owner_of

_LOCK = "emulator.lock"
_MARK = "neon_emulator"
_KEY = "api-key"


class HomeTaken(Exception):
    """The folder cannot be an emulator's; the text says why, and what to do."""


@dataclass(frozen=True)
class Home:
    """A folder that this process alone uses, to the end of a `with` block or of the process."""

    folder: Path
    throwaway: bool
    _lock: int

    @classmethod
    def take(cls, wanted: Path) -> Self:
        """Make a folder for an emulator, or take the one of an earlier emulator.

        Where root's servers could not reach it, the data lies elsewhere and a symbolic link stands in its place, as
        `local_postgres` has it.

        Raises:
            HomeTaken: where another emulator uses it, or it is something else's.
            local_postgres.FolderError: where it cannot be made or reached.
        """
        folder = folders.place(wanted.absolute())
        folders.make_home(folder, Path(os.path.realpath(wanted)), default_account())
        # The lock alone is what a kill at the very beginning leaves.
        if not (folder / _MARK).exists() and any(path.name != _LOCK for path in folder.iterdir()):
            raise HomeTaken(f"{wanted} is not empty, and no emulator's: name a new folder.")
        folders.make_private(folder, owner_of(folder))
        return cls._locked(folder, throwaway=False)

    @classmethod
    def make_throwaway(cls) -> Self:
        """Make a folder that is deleted in the end; those that killed emulators have left are deleted now."""
        folder = local_postgres.throwaway_folder()
        for mark in folder.parent.glob(f"*/{_MARK}"):
            with suppress(OSError, local_postgres.LocalPostgresError):  # somebody else's, or just being deleted
                _sweep(mark.parent)
        return cls._locked(folder, throwaway=True)

    @classmethod
    def _locked(cls, folder: Path, *, throwaway: bool) -> Self:
        lock = locks.try_lock(folder / _LOCK)
        if lock is None:
            raise HomeTaken(f"Another emulator uses {folder}: end it, or name another folder with --data.")
        _write(folder / _MARK, "throwaway\n" if throwaway else "")
        return cls(folder, throwaway, lock)

    def api_key(self) -> str:
        """The key that clients need; made once for a folder."""
        path = self.folder / _KEY
        if not path.exists():
            new = path.with_suffix(".new")
            _write(new, f"napi_{secrets.token_hex(32)}")
            new.rename(path)
        return path.read_text()

    def __enter__(self) -> Self:
        """Use the folder for the time of a block."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Let another emulator use the folder; a throwaway one is deleted, where the supervisor has not done that."""
        try:
            if self.throwaway:
                folders.discard(self.folder)
        finally:
            locks.unlock(self._lock)


def _write(path: Path, text: str) -> None:
    """Write a private file, never through a symbolic link: the folder may be another account's."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with open(os.open(path, flags, 0o600), "w") as file:  # noqa: PTH123 - its mode
        file.write(text)


def _sweep(folder: Path) -> None:
    """Delete a throwaway folder whose emulator and supervisor are both gone."""
    if folder.is_symlink() or folder.stat().st_uid != default_account().uid:
        return
    if (folder / _MARK).read_text() != "throwaway\n":
        return
    with locks.tried(folder / _LOCK) as emulator, locks.tried(folder / "supervisor.lock") as supervisor:
        if emulator and supervisor:
            folders.discard(folder)
