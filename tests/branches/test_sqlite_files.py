"""SQLite's own rules: where the files lie, how they are called, what is in their way, and disks that refuse."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_branches import (
    Branch,
    Branches,
    BranchExists,
    BranchNotFound,
    ConfigurationError,
    DatabaseFailed,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.branches.worlds import Client, World

    At = Callable[[str | Branch], Client]
    MakeWorld = Callable[..., World]

pytestmark = pytest.mark.skipif(os.environ.get("QUESTIONS_CONFIG") == "postgres", reason="rules of SQLite")

_READ_ONLY = r"app\.sqlite\.branches could not be used: Read-only file system\. Look at the disk and see that it can"


@pytest.mark.parametrize("where", ["file", "folder"])
def test_a_file_in_the_way_is_named_and_kept(file: World, where: str) -> None:
    """It is nobody's branch."""
    if where == "folder":
        file.folder.write_text("precious")
        with pytest.raises(
            DatabaseFailed, match=r"app_first\.sqlite\.branches could not be used: .*\. Look at the disk and"
        ):
            file.branches.create("mine")
        assert file.folder.read_text() == "precious"
        return
    file.branches.create("other")
    path = file.folder / "mine.sqlite"
    path.write_text("precious")
    with pytest.raises(
        BranchExists, match=r"mine\.sqlite is there, and no branch: choose another name, or move that file"
    ):
        file.branches.create("mine")
    assert path.read_text() == "precious"


def test_a_file_that_took_a_branch_s_place_is_no_branch(file: World, tmp_path: Path) -> None:
    """The record was another file's: it is neither listed nor pruned nor deleted."""
    branch = file.branches.create("mine")
    precious = tmp_path / "precious.sqlite"
    shutil.copyfile(file.file, precious)
    precious.replace(branch.id)

    assert file.branches.list() == file.branches.prune(dry_run=False) == []
    with pytest.raises(BranchNotFound):
        file.branches.delete("mine")
    file.backend.delete(branch)
    assert Path(branch.id).exists()
    assert file.backend.vouch(sa.make_url(branch.url)) is None


def test_a_log_that_was_left_behind_is_not_taken_for_a_new_branch_s(file: World, at: At) -> None:
    """A deletion that died halfway leaves one, and SQLite would replay it."""
    with closing(sqlite3.connect(file.file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    branch = file.branches.create("mine")
    with closing(sqlite3.connect(branch.id)) as connection:
        connection.execute("UPDATE note SET text = 'old'")
        connection.commit()
        log = Path(f"{branch.id}-wal")
        kept = log.read_bytes()
    file.branches.delete("mine")
    file.folder.mkdir()
    log.write_bytes(kept)

    assert at(file.branches.create("mine")).texts() == ["first", "second"]


def test_nothing_is_left_beside_the_database(file: World, tmp_path: Path) -> None:
    """The last branch takes the folder with it, and what processes that died have left goes before."""
    before = sorted(path.name for path in tmp_path.iterdir())
    assert file.branches.list() == file.branches.prune(dry_run=False) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == before

    file.branches.create("mine")
    for name in (
        "gone.sqlite.branch",
        "mine.sqlite.branch.0123",
        ".+new-1.sqlite",
        ".+new-1.sqlite-journal",
        "run=20x.lock",
    ):
        (file.folder / name).touch()
    assert file.branches.databases.sweep(dry_run=False) == [".+new-1.sqlite"]
    assert sorted(path.name for path in file.folder.iterdir()) == ["mine.sqlite", "mine.sqlite.branch"]

    file.branches.delete("mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_a_branch_is_as_private_as_its_parent(file: World, mode: int) -> None:
    """Nobody who may not read the one may read the other."""
    file.file.chmod(mode)

    branch = file.branches.create("mine")

    assert stat.S_IMODE(Path(branch.id).stat().st_mode) == mode
    file.branches.reset("mine")
    assert stat.S_IMODE(Path(branch.id).stat().st_mode) == mode


def test_an_in_memory_database_s_branch_is_private(make_world: MakeWorld) -> None:
    """Nobody but its process could read it either."""
    world = make_world("memory")

    assert stat.S_IMODE(Path(world.branches.create().id).stat().st_mode) == 0o600


def test_a_relative_path_means_the_same_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: At
) -> None:
    """Flask-SQLAlchemy reads it from the instance folder; a URL for all programs is absolute."""
    app = Flask("app", instance_path=str(tmp_path / "instance"))
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///data/app.sqlite"
    SQLAlchemy(app)
    branches = Branches(app)
    (tmp_path / "instance" / "data").mkdir(parents=True)
    at(f"sqlite:///{tmp_path}/instance/data/app.sqlite").run("CREATE TABLE note (id INTEGER, text TEXT)")

    with app.app_context():
        branch = branches.create("mine")
        monkeypatch.chdir("/")
        assert branches.list() == [branch]

    assert branch.id == str(tmp_path / "instance" / "data" / "app.sqlite.branches" / "mine.sqlite")
    assert at(branch).texts() == []


@pytest.mark.parametrize("name", ["we ird%20?#&=ü;'\"", "=2F.sqlite", "mode=memory not", "[glob]*"])
def test_a_file_may_be_called_anything(make_world: MakeWorld, tmp_path: Path, at: At, name: str) -> None:
    """Whatever its name would mean in a URI, or as a pattern."""
    if "?" in name and sa.__version__ < "2.1":
        pytest.skip("SQLAlchemy 2.0 cannot write it in a URL")
    url = sa.URL.create("sqlite", database=str(tmp_path / name))
    world = make_world("file", url=url, BRANCHES_MASKS={"note.text": "upper(text)"})

    branch = world.branches.create("it's 50%2F?#")

    assert at(branch).texts() == ["FIRST", "SECOND"]
    assert at(world.branches.reset(branch.name)).texts() == ["FIRST", "SECOND"]
    assert world.branches.list() == [branch]
    assert (tmp_path / name).is_file()


def test_options_of_the_url_are_the_branch_s_too(make_world: MakeWorld, tmp_path: Path) -> None:
    """Such as how long the driver waits for a lock."""
    url = sa.URL.create("sqlite", database=str(tmp_path / "app.sqlite"), query={"timeout": "77"})

    assert make_world("file", url=url).branches.create().url.endswith("timeout=77")


def test_a_uri_of_sqlite_s_own_is_refused(tmp_path: Path) -> None:
    """What it means depends on its options."""
    app = Flask("app")
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///file:{tmp_path}/app.sqlite?uri=true&mode=rwc"
    SQLAlchemy(app)
    branches = Branches(app)
    with (
        app.app_context(),
        pytest.raises(ConfigurationError, match=r"^A SQLite URI \(file:…\) cannot be branched: write"),
    ):
        branches.list()


def test_a_bind_that_has_no_file_yet_is_empty(make_world: MakeWorld, tmp_path: Path, at: At) -> None:
    """As SQLite itself has it; nothing is made of it."""
    later = sa.URL.create("sqlite", database=str(tmp_path / "later.sqlite"))
    world = make_world("file", binds={"later": later}, fill=False)
    world.file.touch()

    branch = world.branches.create("mine")

    assert at(branch.binds["later"]).run("SELECT name FROM sqlite_master") == []
    assert not (tmp_path / "later.sqlite").exists()


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
