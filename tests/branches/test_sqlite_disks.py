"""Files and disks of SQLite that are of no use: each is named, and nothing half built is left."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from tests.branches.worlds import SQLITE

from flask_branches import Branches, DatabaseFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.branches.worlds import World

    MakeWorld = Callable[..., World]

pytestmark = pytest.mark.skipif(not SQLITE, reason="rules of SQLite")

_READ_ONLY = r"app\.sqlite\.branches could not be used: Read-only file system\. Look at the disk and see that it can"


def test_what_is_no_database_is_named(file: World) -> None:
    """The parent, not the folder of the branches."""
    file.let_go()
    file.file.write_text("no database " * 1000)

    with pytest.raises(DatabaseFailed, match=r"app_first\.sqlite could not be used: file is not a database\. Look at"):
        file.branches.create("mine")
    assert not file.folder.exists()
    file.file.unlink()


@pytest.fixture
def tiny(tmp_path: Path) -> Any:
    """A disk that has room for the application's database, and not for a second one."""
    import subprocess

    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    place = tmp_path / "tiny"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"needs a small disk: {mounted.stderr}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_full_disk_is_named(make_world: MakeWorld, tiny: Path) -> None:
    """With the remedy; what was begun is removed, and afterwards there is room as before."""
    url = sa.URL.create("sqlite", database=str(tiny / "app.sqlite"))
    world = make_world("file", url=url)
    with closing(sqlite3.connect(world.file)) as connection:
        connection.execute("INSERT INTO note (text) VALUES (hex(randomblob(24000)))")
        connection.commit()
    free = shutil.disk_usage(tiny).free

    with pytest.raises(
        DatabaseFailed, match=r"app\.sqlite\.branches could not be used: .*full.*Look at the disk and free"
    ):
        world.branches.create("mine")

    assert shutil.disk_usage(tiny).free == free
    assert world.branches.list() == []


def test_a_folder_that_cannot_be_written_is_named(file: World, tiny: Path) -> None:
    """Before anything is copied; what is there can be listed."""
    import subprocess

    url = sa.URL.create("sqlite", database=str(tiny / "app.sqlite"))
    shutil.copyfile(file.file, tiny / "app.sqlite")
    app = Flask("other")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    SQLAlchemy(app)
    branches = Branches(app)
    subprocess.run(["mount", "-o", "remount,ro", tiny], check=True)

    with app.app_context():
        assert branches.list() == []
        with pytest.raises(DatabaseFailed, match=_READ_ONLY):
            branches.create()
        with pytest.raises(DatabaseFailed, match=_READ_ONLY), branches.temporary():
            pytest.fail("it was made")
