from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import local_postgres
from local_postgres import account, throwaway

if TYPE_CHECKING:
    from tests.local_postgres.conftest import Processes, StartUser, Until


def test_a_throwaway_folder_is_private_and_fresh(place: Path) -> None:
    """It belongs to the account that runs the server, nobody else can enter it, and no two are the same."""
    other = local_postgres.throwaway_folder()
    status = other.stat()
    assert (status.st_mode & 0o777, status.st_uid) == (0o700, account.default_account().uid)
    assert other != place
    assert not list(other.iterdir())
    other.rmdir()


def test_memory_without_room_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /dev/shm is small, as in many containers, the temporary folder is used."""
    monkeypatch.setattr(throwaway, "_ROOM", 1 << 62)
    folder = local_postgres.throwaway_folder()
    assert folder.parent != Path("/dev/shm")  # noqa: S108 - what is not to be used
    folder.rmdir()


def test_without_a_temporary_folder_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the account that has to enter it, and TMPDIR."""
    monkeypatch.setattr(os, "access", lambda *_arguments: False)
    name = account.default_account().name
    with pytest.raises(local_postgres.FolderError, match=f"written here and entered by {name}: set TMPDIR"):
        local_postgres.throwaway_folder()


def test_what_was_left_by_killed_processes_is_deleted(
    start_user: StartUser, processes: Processes, until: Until
) -> None:
    """Where users and keeper were all killed, the next throwaway folder takes server and folder away."""
    folder = local_postgres.throwaway_folder()
    doomed = folder.with_name(f"{folder.name}.gone-0123")
    with suppress(FileNotFoundError):  # where another run of this account has swept it already
        shutil.copytree(folder, doomed)
        os.chown(doomed, folder.stat().st_uid, folder.stat().st_gid)
    user = start_user(folder, throwaway=True)
    assert user.stdout is not None
    user.stdout.readline()
    (keeper,) = processes("keeper", str(folder))
    os.kill(keeper, signal.SIGKILL)
    until(lambda: not processes("keeper", str(folder)))
    local_postgres.throwaway_folder().rmdir()
    assert folder.exists()
    user.kill()
    user.wait()

    def is_swept() -> bool:
        local_postgres.throwaway_folder().rmdir()
        return not folder.exists() and not doomed.exists()

    until(is_swept)  # at once, unless another run of this account is just sweeping it
    assert not processes(str(folder))
