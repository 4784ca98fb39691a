"""A new cluster's data, as initdb makes it: made once, and copied from then on."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from local_postgres import folders
from local_postgres.errors import FolderError
from neon_emulator.clusters.commands import run, tail
from neon_emulator.clusters.copying import copy_tree
from neon_emulator.clusters.server_settings import SEGMENT
from neon_emulator.engine import ClusterFailed

if TYPE_CHECKING:
    from local_postgres import Account, Binaries

SUPERUSER = "cloud_admin"
_BUILTIN_LOCALE = 17
_ABANDONED_SECONDS = 3600.0
_PREFIX = "neon_emulator-initdb-"


async def make_data(target: Path, binaries: Binaries, account: Account) -> None:
    """Make the data of a new cluster in a folder that is still missing.

    Raises:
        ClusterFailed: where initdb, or the copy, fails.
    """
    cached = await _cached(binaries, account)
    if cached is None:
        await _initdb(target, binaries, account, "--no-sync")
    else:
        await copy_tree(cached, target, account)


async def _cached(binaries: Binaries, account: Account) -> Path | None:
    """The data to copy, made where it is missing; None where this account can keep none."""
    try:
        final = await _cache_path(binaries, account)
        _sweep(final.parent)
        if not (final / "PG_VERSION").exists():
            await _fill(final, binaries, account)
        folders.make_private(final, account)
    except (FolderError, OSError):
        return None
    return final


async def _fill(final: Path, binaries: Binaries, account: Account) -> None:
    """Make the data to copy; it outlives the machine's failures, as whoever copies it later cannot tell."""
    new = folders.make_private(final.with_name(f"{final.name}.new-{secrets.token_hex(4)}"), account)
    try:
        await _initdb(new, binaries, account)
        new.rename(final)
        folders.flush(final.parent)
    except OSError:
        if not (final / "PG_VERSION").exists():  # else another process was faster
            raise
    finally:
        folders.remove_tree(new)


def _sweep(cache: Path) -> None:
    """Delete what was begun long ago and never ended, for whatever version of Postgres."""
    for begun in cache.glob(f"{_PREFIX}*.new-*"):
        with suppress(FileNotFoundError):  # another emulator sweeps too
            if time.time() - begun.stat().st_mtime > _ABANDONED_SECONDS:
                # Nobody writes there any more; what cannot be deleted is no reason to do without the cache.
                shutil.rmtree(begun, ignore_errors=True)


async def _cache_path(binaries: Binaries, account: Account) -> Path:
    version = await run(account, binaries.tool("postgres"), "--version")
    key = "\n".join([version.output, *_options(binaries.version), account.name])
    return _cache_folder(account) / f"{_PREFIX}{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _cache_folder(account: Account) -> Path:
    if not account.is_own:
        return folders.shelter(account)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    base.mkdir(parents=True, exist_ok=True)
    return base


async def _initdb(target: Path, binaries: Binaries, account: Account, *more: str) -> None:
    result = await run(account, binaries.tool("initdb"), "-D", target, *_options(binaries.version), *more)
    if result.status != 0:
        raise ClusterFailed(f"initdb failed for a new cluster:{tail(result.output + result.complaints)}")


def _options(version: int) -> list[str]:
    options = [f"--username={SUPERUSER}", "--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8"]
    options += ["--locale=C", f"--wal-segsize={SEGMENT >> 20}"]
    if version >= _BUILTIN_LOCALE:
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return options
