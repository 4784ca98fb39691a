"""SQLite's own rules: where the files lie, how they are called, what is in their way, and disks that refuse."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from tests.branches.worlds import SQLITE

from flask_branches import (
    Branch,
    Branches,
    BranchExists,
    BranchNotFound,
    ConfigurationError,
    DatabaseFailed,
)
from flask_branches.backends import sqlite_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.branches.worlds import Client, Program, World

    At = Callable[[str | Branch], Client]
    MakeWorld = Callable[..., World]
    Start = Callable[..., Program]

pytestmark = pytest.mark.skipif(not SQLITE, reason="rules of SQLite")

_COMER_AND_GOER = """if True:
    import os
    from notes import app, branches
    with app.app_context():
        for number in range(40):
            name = branches.create(f"{os.getpid()} {number}").name
            assert name in [each.name for each in branches.list()]
            branches.delete(name)
"""


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
        ".+new-2.branch",
        ".+new-1.sqlite",
        ".+new-1.sqlite-journal",
        "run=20x.lock",
    ):
        (file.folder / name).touch()
    assert file.branches.databases.sweep(dry_run=False) == [".+new-1.sqlite"]
    assert sorted(path.name for path in file.folder.iterdir()) == ["mine.sqlite", "mine.sqlite.branch"]

    file.branches.delete("mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_who_lists_branches_is_not_disturbed_by_those_who_make_and_delete_them(file: World, start: Start) -> None:
    """A file, or the whole folder, that goes while it is looked at holds no branch."""
    processes = [start(file, "-c", _COMER_AND_GOER) for _ in range(2)]

    while any(process.poll() is None for process in processes):
        file.branches.list()
        file.branches.databases.sweep(dry_run=True)

    assert [(process.returncode, process.communicate()[1]) for process in processes] == [(0, "")] * 2
    assert not file.folder.exists()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_a_branch_is_as_private_as_its_parent(file: World, mode: int) -> None:
    """Nobody who may not read the one may read the other."""
    file.file.chmod(mode)

    branch = file.branches.create("mine")

    assert stat.S_IMODE(Path(branch.id).stat().st_mode) == mode
    file.branches.reset("mine")
    assert stat.S_IMODE(Path(branch.id).stat().st_mode) == mode


def test_what_is_written_anew_is_private_from_the_start(file: World, tmp_path: Path) -> None:
    """What a parent holds can be read by nobody else before the file has the parent's rights."""
    file.let_go()
    file.file.chmod(0o644)

    sqlite_files.rewrite(file.file, tmp_path / "new.sqlite")

    assert stat.S_IMODE(file.file.stat().st_mode) == 0o600


@pytest.mark.parametrize("linked", ["file", "folder"])
def test_a_link_leads_to_the_same_branches(file: World, make_world: MakeWorld, tmp_path: Path, linked: str) -> None:
    """They lie beside the file itself, whatever way an application goes there."""
    (tmp_path / "links").mkdir()
    link, target = (
        (tmp_path / "links" / "app.sqlite", file.file)
        if linked == "file"
        else (tmp_path / "links" / "data", file.file.parent)
    )
    link.symlink_to(target)
    path = link if linked == "file" else link / file.file.name
    branch, backend = file.branches.create("mine"), file.backend

    other = make_world("file", name="other", url=sa.URL.create("sqlite", database=str(path)), fill=False)

    assert other.branches.list() == [branch]
    assert other.backend.is_main(backend.main)
    assert backend.is_main(other.main)
    with other.backend.locked("run x"):
        assert backend.is_held("run x")
    (tmp_path / "links" / "mine").symlink_to(branch.id)
    vouched = backend.vouch(sa.make_url(f"sqlite:///{tmp_path}/links/mine"))
    assert vouched is not None
    assert vouched.name == "mine"
    with closing(sqlite3.connect(str(backend.main.database))) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        before = other.backend.state("main")
        writer.execute("INSERT INTO note (text) VALUES ('third')")
        writer.commit()
        assert other.backend.state("main") != before
    assert list((tmp_path / "links").glob("*.branches")) == []


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
