"""Folders with odd names, and folders that are somebody else's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import local_postgres
from local_postgres import account, folders

if TYPE_CHECKING:
    from pathlib import Path

    from tests.local_postgres.conftest import Query


@pytest.mark.parametrize(
    "name", ["with space", 'it\'s "quoted" $HOME `id`', "größe 数据", "a,b:c%d", "-rf", "back\\slash", "x" * 120]
)
def test_odd_folders(name: str, place: Path, query: Query) -> None:
    """Any name works, and the socket stays within what the system and the clients accept."""
    cluster = local_postgres.Cluster(place / name, throwaway=True)
    cluster.start()
    assert query(cluster, "SELECT 1") == 1
    assert len(os.fsencode(cluster.socket_folder / ".s.PGSQL.65535")) <= 107
    assert cluster.socket_folder.stat().st_mode & 0o777 == 0o700
    cluster.stop()
    assert cluster.socket_folder.exists() == (cluster.socket_folder.parent == cluster.home)


def test_a_short_socket_folder_of_somebody_else_is_refused(place: Path) -> None:
    """In /tmp, where everybody can make folders, one that is open to others is not trusted."""
    cluster = local_postgres.Cluster(place / ("x" * 120), throwaway=True)
    cluster.socket_folder.mkdir()
    cluster.socket_folder.chmod(0o755)
    try:
        with pytest.raises(local_postgres.FolderError, match=f"{cluster.socket_folder} is not a private folder of"):
            cluster.start()
    finally:
        cluster.socket_folder.rmdir()


def test_a_log_that_cannot_be_written(cluster: local_postgres.Cluster) -> None:
    """Where the log is no file, the error names it; it is never followed elsewhere."""
    cluster.stop()
    cluster.log.unlink()
    cluster.log.symlink_to("/dev/null")
    with pytest.raises(local_postgres.FolderError, match=f"{cluster.log} cannot be opened"):
        cluster.start()


def test_a_log_that_the_account_cannot_open(cluster: local_postgres.Cluster) -> None:
    """What the shell says in the server's place ends the error."""
    cluster.stop()
    cluster.log.unlink()
    cluster.log.mkdir()
    with pytest.raises(local_postgres.FolderError, match=f"{cluster.log} cannot be opened: Is a directory"):
        cluster.start()
    cluster.log.rmdir()


@pytest.mark.parametrize("name", ["file", "line\nbreak", "file/below"])
def test_folders_that_cannot_be(name: str, place: Path) -> None:
    """A file, a path below a file, and a name that Postgres cannot store are refused."""
    place.joinpath("file").touch()
    message = "has a line break in it" if "\n" in name else f"{place}/file is a file: name a folder"
    with pytest.raises(local_postgres.FolderError, match=message):
        local_postgres.Cluster(place / name).start()


def test_data_that_is_no_cluster_is_left_alone(place: Path) -> None:
    """A folder of the user's at the data's place is not touched."""
    user = account.default_account()
    data = place / "pg" / "data"
    data.mkdir(parents=True)
    data.joinpath("thesis").touch()
    os.chown(data, user.uid, user.gid)
    with pytest.raises(local_postgres.FolderError, match=f"{data} is in the way, and no cluster: move it"):
        local_postgres.Cluster(place / "pg").start()
    assert [path.name for path in data.iterdir()] == ["thesis"]


def test_data_of_root_s(place: Path) -> None:
    """Postgres refuses to run as root, so data of root's cannot be served."""
    place.joinpath("pg").mkdir()
    place.joinpath("pg", "data").symlink_to("/")
    with pytest.raises(
        local_postgres.FolderError, match="pg/data belongs to root, and Postgres refuses to run as root"
    ):
        local_postgres.Cluster(place / "pg").start()


def test_data_of_another_account(cluster: local_postgres.Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary user cannot use another one's cluster."""
    owner = cluster.account.name
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 12345)
        with pytest.raises(local_postgres.FolderError, match=f"belongs to {owner}: run the command as {owner}"):
            cluster.is_running()


def test_a_folder_that_is_replaced_while_it_is_made(place: Path) -> None:
    """A folder that is somebody else's by now gets neither a new owner nor a new mode."""
    folder = place if os.geteuid() == 0 else place.parents[-1]
    before = folder.stat()
    with pytest.raises(local_postgres.FolderError, match=f"{folder} was replaced by somebody else"):
        folders._own(folder, 0, 0, 0o777)
    assert folder.stat() == before


def test_a_tree_that_cannot_be_deleted(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleting ends with an error that names the folder, not without end."""
    monkeypatch.setattr(folders, "_REMOVE_SECONDS", 0)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *_arguments, **_keywords: None)
        with pytest.raises(local_postgres.FolderError, match=f"{place} cannot be deleted: see who writes to it"):
            folders.remove_tree(place)
