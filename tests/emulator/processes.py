"""Which processes work in a folder: the emulator's, its supervisor's, Postgres's."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

_PROC = Path("/proc")


def needs_proc() -> None:
    """Skip where the system does not tell what processes do."""
    if not _PROC.joinpath("self").exists():
        pytest.skip("needs /proc")


def of(folder: Path, *words: str) -> list[int]:
    """The pids of the processes that have a folder, and all words, in their command line or as working directory."""
    return [pid for pid, text in _processes() if str(folder) in text and all(word in text for word in words)]


def servers(folder: Path) -> list[int]:
    """The pids of the Postgres servers in a folder, without their children."""
    found = [pid for pid in of(folder, " -D ") if "postgres" in command(pid)]
    # A child that has only just begun still has its server's command line.
    return sorted(set(found).difference(*map(children, found)))


def supervisors(emulator: int) -> list[int]:
    """The pids of the supervisors that an emulator's process has started, and that live."""
    # Not by the command line alone: what a supervisor forks has that too until it is another program.
    return [pid for pid in children(emulator) if "neon_emulator.supervisor" in command(pid)]


def _processes() -> list[tuple[int, str]]:
    found = []
    for entry in _PROC.glob("[0-9]*"):
        if int(entry.name) == os.getpid():
            continue
        found.append((int(entry.name), f"{command(int(entry.name))} {_working_directory(entry)}"))
    return found


def children(parent: int) -> list[int]:
    """The pids of a process's children."""
    found: list[int] = []
    for task in _PROC.glob(f"{parent}/task/*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            found += map(int, task.read_text().split())
    return found


def command(pid: int) -> str:
    """A process's command line; empty where it is gone."""
    try:
        return os.fsdecode((_PROC / str(pid) / "cmdline").read_bytes()).replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _working_directory(entry: Path) -> str:
    try:
        return os.readlink(entry / "cwd")  # noqa: PTH115 - a path is not wanted
    except OSError:
        return ""
