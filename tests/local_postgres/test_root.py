from __future__ import annotations

import errno
import os
import pwd
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import local_postgres
from local_postgres import account, folders

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local_postgres.conftest import Processes, Query, Until

_SHELTER = Path("/var/lib/local_postgres")

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another account")
ordinary = pytest.mark.skipif(os.geteuid() == 0, reason="root's server runs as another account")


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Path]:
    """A project under a home that nobody else can enter, as root's is."""
    tmp_path.chmod(0o700)
    folder = tmp_path / "clone"
    folder.mkdir()
    yield folder
    for wanted in (folder / "pg", folder / "instance" / "postgres"):
        folders.remove_tree(_SHELTER / folders.digest(wanted))
    with suppress(OSError):  # somebody else's cluster may lie there
        _SHELTER.rmdir()


def _modes(folder: Path) -> list[tuple[int, int, int]]:
    return [(path.stat().st_mode, path.stat().st_uid, path.stat().st_gid) for path in (folder, *folder.parents)]


@root
def test_a_private_home_stays_private(clone: Path, query: Query, until: Until, processes: Processes) -> None:
    """Data that the server could not reach lies elsewhere, with a link to it; no mode changes, no account is made."""
    modes, accounts = _modes(clone), pwd.getpwall()
    folder = clone / "instance" / "postgres"
    for _ in range(2):
        with local_postgres.lease(folder) as lease:
            query(lease.cluster, "CREATE TABLE IF NOT EXISTS kept ()")
            home = lease.cluster.home
        until(lambda: not processes(str(folder)) and not processes(str(lease.cluster.home)))
    assert folder.is_symlink()
    assert folder.resolve() == home
    assert home.parent == _SHELTER
    assert home.stat().st_uid == account.default_account().uid
    assert (_modes(clone), pwd.getpwall()) == (modes, accounts)

    folder.unlink()
    assert local_postgres.Cluster(folder).home == home


@root
def test_a_throwaway_cluster_elsewhere_leaves_nothing(clone: Path, until: Until) -> None:
    """The folder goes, and so does the link to it; an empty folder that was there before gave way to the link."""
    folder = clone / "pg"
    folder.mkdir()
    with local_postgres.lease(folder, throwaway=True) as lease:
        home = lease.cluster.home
        assert folder.is_symlink()
    until(lambda: not home.exists() and not folder.is_symlink())


@root
def test_a_folder_in_use_that_cannot_be_reached(clone: Path) -> None:
    """What is in a folder that the server cannot reach is neither moved nor hidden."""
    folder = clone / "pg"
    folder.mkdir()
    folder.joinpath("thesis").touch()
    name = account.default_account().name
    with pytest.raises(
        local_postgres.FolderError, match=f"{folder} cannot be reached by {name}, .* not empty: move it"
    ):
        local_postgres.lease(folder)


@root
def test_a_link_s_place_that_is_taken(clone: Path, place: Path) -> None:
    """A dangling link that somebody has put there meanwhile is not replaced."""
    cluster = local_postgres.Cluster(clone / "pg")
    assert cluster.home != clone / "pg"
    clone.joinpath("pg").symlink_to(place / "elsewhere")
    with pytest.raises(local_postgres.FolderError, match=f"{place / 'elsewhere'}|File exists"):
        folders.make_home(cluster.home, clone / "pg", cluster.account)


@root
def test_where_root_may_write_nowhere(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the places that were tried."""
    monkeypatch.setattr(folders, "_SHELTERS", (Path("/no/where"), Path("/no/place")))
    with pytest.raises(local_postgres.FolderError, match="Neither /no/where nor /no/place can be written by root"):
        local_postgres.Cluster(clone / "pg").start()


@root
def test_a_shelter_of_somebody_else_is_refused(clone: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that others can write to, or own, gets nothing of root's."""
    monkeypatch.setattr(folders, "_SHELTERS", (place,))
    place.joinpath("local_postgres").mkdir()
    place.joinpath("local_postgres").chmod(0o777)
    with pytest.raises(
        local_postgres.FolderError, match="local_postgres was made by somebody else, or others may write"
    ):
        local_postgres.Cluster(clone / "pg").start()


@root
@pytest.mark.parametrize("mask", [0o077, 0o022])
def test_folders_on_the_way_can_be_passed(mask: int, place: Path) -> None:
    """Root's umask does not keep the server out of folders that are made for it."""
    place.chmod(0o711)
    before = os.umask(mask)
    try:
        with local_postgres.lease(place / "a" / "b" / "pg", throwaway=True) as lease:
            assert lease.cluster.home == place / "a" / "b" / "pg"
    finally:
        os.umask(before)


@root
def test_without_an_account_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """No account is made: the error names those that would do."""
    monkeypatch.setattr(account, "_FOR_ROOT", ("no-such-account", "nor-this"))
    with pytest.raises(local_postgres.AccountError, match="none of the accounts no-such-account, nor-this: run"):
        account.default_account()


@root
def test_a_root_that_may_not_switch_gets_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers often take the capability away: the error says so, and what to do."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(subprocess, "run", refuse)
    with pytest.raises(
        local_postgres.AccountError, match=r"this root may not act as .*: run the command as an ordinary"
    ):
        local_postgres.find_binaries()


@root
def test_data_decides_who_runs_the_server(place: Path, query: Query) -> None:
    """Data that belongs to an ordinary account is served by that account, also for root."""
    nobody = pwd.getpwnam("nobody")
    place.chmod(0o711)
    local_postgres.Cluster(place / "pg", throwaway=True).start()
    local_postgres.Cluster(place / "pg").stop()
    for path in (place / "pg", *(place / "pg").rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    cluster = local_postgres.Cluster(place / "pg", throwaway=True)
    cluster.start()
    assert query(cluster, "SELECT 1") == 1
    assert cluster.socket_folder.stat().st_uid == nobody.pw_uid
    cluster.stop()


@ordinary
def test_an_ordinary_user_s_folder_is_used_as_it_is(tmp_path: Path, until: Until) -> None:
    """A private home is no obstacle to its owner."""
    tmp_path.chmod(0o700)
    with local_postgres.lease(tmp_path / "pg", throwaway=True) as lease:
        assert lease.cluster.home == tmp_path / "pg"
        assert lease.cluster.account.uid == os.geteuid()
    until(lambda: not (tmp_path / "pg").exists())


@ordinary
def test_a_folder_that_may_not_be_written() -> None:
    """The error names the folder and what to do."""
    with pytest.raises(
        local_postgres.FolderError, match=r"/proc/.* cannot be made: .* Name a folder that you may write to"
    ):
        local_postgres.lease("/proc/local_postgres/pg")
