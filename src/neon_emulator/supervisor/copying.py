"""Files copied as the server's account, sharing their blocks with the original where the file system can do that."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from neon_emulator.engine import ClusterFailed
from neon_emulator.supervisor.commands import run, tail

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from local_postgres import Account

_LINUX = sys.platform == "linux"
_COPY = ["-a", "--reflink=auto"] if _LINUX else ["-Rcp"]
_PROBE = 'echo x >"$1" && cp --reflink=always "$1" "$1.copy"; status=$?; rm -f "$1" "$1.copy"; exit $status'
_VANISHED = re.compile(r"cp: (?!cannot create).*: No such file or directory")


async def copy_tree(source: Path, target: Path, account: Account) -> None:
    """Copy a folder in which nobody writes, to a path that is free.

    Raises:
        ClusterFailed: where the copy fails.
    """
    result = await run(account, "cp", *_COPY, source, target)
    if result.status != 0:
        raise ClusterFailed(f"A cluster could not be copied:{tail(result.complaints)}")


async def copy_entries(entries: Iterable[Path], target: Path, account: Account, *, vanishing: bool = False) -> None:
    """Copy files and folders into a folder.

    Args:
        entries: what is copied.
        target: the folder.
        account: who copies.
        vanishing: whether files may be gone before it is their turn, as in a server's folder.

    Raises:
        ClusterFailed: where the copy fails for any other reason.
    """
    result = await run(account, "cp", *_COPY, *entries, target)
    if result.status == 0 or (vanishing and result.status > 0 and _is_all_vanished(result.complaints)):
        return
    raise ClusterFailed(f"A cluster could not be copied:{tail(result.complaints)}")


async def shares_blocks(folder: Path, account: Account) -> bool:
    """Whether copies in a folder are known to take no room until they are changed; tried, since nothing else tells."""
    return _LINUX and (await run(account, "sh", "-c", _PROBE, "sh", folder / ".probe")).status == 0


def _is_all_vanished(complaints: str) -> bool:
    lines = complaints.splitlines()
    return bool(lines) and all(_VANISHED.fullmatch(line) for line in lines)
