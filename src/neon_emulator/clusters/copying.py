"""Files copied as the server's account, with shared blocks where the file system can do that, and deleted."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from neon_emulator.clusters.commands import run, tail
from neon_emulator.engine import ClusterFailed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local_postgres import Account
    from neon_emulator.clusters.commands import Finished

_LINUX = sys.platform == "linux"
_COPY = ["-a", "--reflink=auto"] if _LINUX else ["-Rcp"]
_PROBE = 'echo x >"$1" && cp --reflink=always "$1" "$1.copy"; status=$?; rm -f "$1" "$1.copy"; exit $status'
_COPY_PAIRS = f'while [ "$2" ]; do cp {" ".join(_COPY)} "$1" "$2" || failed=1; shift 2; done; exit ${{failed:-0}}'
_TRIES = 20
_VANISHED = re.compile(r"cp: (?!cannot create).*: No such file or directory")
_REPLACED = re.compile(r"cp: skipping file '(.*)', as it was replaced while being copied")


async def copy_tree(source: Path, target: Path, account: Account) -> None:
    """Copy a folder in which nobody writes, to a path that is free.

    Raises:
        ClusterFailed: where the copy fails.
    """
    result = await run(account, "cp", *_COPY, source, target)
    if result.status != 0:
        raise _failed(result)


async def copy_entries(folder: Path, names: Iterable[str], target: Path, account: Account) -> None:
    """Copy some of a folder's files and folders into another; none of them may vanish.

    Raises:
        ClusterFailed: where the copy fails.
    """
    result = await run(account, "cp", *_COPY, *(folder / name for name in names), target)
    if result.status != 0:
        raise _failed(result)


async def copy_changing(folder: Path, names: Iterable[str], target: Path, account: Account) -> None:
    """Copy some of a folder's files and folders into another, while a server works in them.

    What vanishes before it is its turn is left out; what is replaced just then is copied again.

    Raises:
        ClusterFailed: where the copy fails for any other reason.
    """
    result = await run(account, "cp", *_COPY, *(folder / name for name in names), target)
    for _ in range(_TRIES):
        if result.status == 0:
            return
        replaced = _replaced(result)
        pairs = [word for path in replaced for word in (path, target / path.relative_to(folder))]
        result = await run(account, "sh", "-c", _COPY_PAIRS, "sh", *pairs)
    raise _failed(result)


async def remove(account: Account, *paths: Path) -> None:
    """Delete files, and folders with all that is in them.

    Raises:
        ClusterFailed: where something cannot be deleted.
    """
    result = await run(account, "rm", "-rf", *paths)
    if result.status != 0:
        raise ClusterFailed(f"What is needed no more could not be deleted:{tail(result.complaints)}")


async def shares_blocks(folder: Path, account: Account) -> bool:
    """Whether copies in a folder are known to take no room until they are changed; tried, since nothing else tells."""
    return _LINUX and (await run(account, "sh", "-c", _PROBE, "sh", folder / ".probe")).status == 0


def _replaced(result: Finished) -> list[Path]:
    """The files that were replaced, where that, and others' vanishing, was all that failed."""
    lines = result.complaints.splitlines()
    replaced = [found[1] for line in lines if (found := _REPLACED.fullmatch(line))]
    vanished = [line for line in lines if _VANISHED.fullmatch(line)]
    if result.status < 0 or not lines or len(replaced) + len(vanished) < len(lines):
        raise _failed(result)
    return [Path(path) for path in replaced]


def _failed(result: Finished) -> ClusterFailed:
    return ClusterFailed(f"A cluster could not be copied:{tail(result.complaints)}")
