"""A database found by the words that Neon's own command line has for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from flask_branches import BranchNotFound, ConfigurationError, neon_lookup, neon_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulator.running import Emulator, Project

    Find = Callable[..., sa.URL]


@pytest.fixture
def neon(emulator: Emulator) -> Project:
    """A project of the module's own."""
    return emulator.client().project()


@pytest.fixture
def find(emulator: Emulator, neon: Project) -> Find:
    """Look up a database."""

    def find(**words: str) -> sa.URL:
        found = neon_settings.read({**emulator.exported, "NEON_PROJECT_ID": neon.id, **words}.get)
        assert found is not None
        return sa.make_url(neon_lookup.database_url(found))

    return find


def test_by_default_it_is_the_default_branch_s_only_database(neon: Project, find: Find) -> None:
    """As its owner, whatever other roles there are; the password is there."""
    neon.client.post(f"{neon.path}/branches/{neon.main}/roles", {"role": {"name": "reader"}})
    neon.settle()
    neon.branch(name="other")

    assert find() == sa.make_url(neon.uri())


def test_another_branch_is_named_by_its_name_or_its_id(neon: Project, find: Find) -> None:
    """A name that there is not is told with those that there are."""
    made = neon.branch(name="staging")["branch"]["id"]

    assert find(NEON_BRANCH="staging") == find(NEON_BRANCH=made) == sa.make_url(neon.uri(made))
    with pytest.raises(BranchNotFound, match=r"^There is no branch 'nobody'; there are: .*'staging'"):
        find(NEON_BRANCH="nobody")


def test_of_several_databases_one_has_to_be_named(neon: Project, find: Find) -> None:
    """The message says which there are; the role is its owner, or the one that is named."""
    path = f"{neon.path}/branches/{neon.main}"
    neon.client.post(f"{path}/roles", {"role": {"name": "keeper"}})
    neon.settle()
    neon.client.post(f"{path}/databases", {"database": {"name": "second", "owner_name": "keeper"}})
    neon.settle()

    with pytest.raises(
        ConfigurationError,
        match=r"^There are 2 databases to choose from: the branch 'main' has \w+, \w+\. Name one of them in NEON_D",
    ):
        find()
    with pytest.raises(ConfigurationError, match=r"^NEON_DATABASE is 'third', and the branch 'main' has .*second"):
        find(NEON_DATABASE="third")
    assert find(NEON_DATABASE="second") == sa.make_url(neon.uri(database="second", role="keeper"))
    owner = find(NEON_DATABASE="second", NEON_ROLE="neondb_owner")
    assert owner == sa.make_url(neon.uri(database="second", role="neondb_owner"))


def test_nothing_is_asked_that_is_known(neon: Project, find: Find) -> None:
    """Databases are listed only where their name or the role is to be found out; a branch without any is told."""
    neon.client.control("DELETE", "requests", status=204)
    assert find(NEON_DATABASE="neondb", NEON_ROLE="neondb_owner") == sa.make_url(neon.uri())
    asked = [each["path"].rpartition("/")[2] for each in neon.client.control("GET", "requests")["requests"]]
    assert asked[:2] == ["branches", "connection_uri"]

    neon.client.delete(f"{neon.path}/branches/{neon.main}/databases/neondb")
    neon.settle()
    with pytest.raises(ConfigurationError, match=r"^The branch 'main' has no database: make one, or name"):
        find()


def test_the_settings_are_told_without_the_key(emulator: Emulator, neon: Project) -> None:
    """Not by repr, nor by str."""
    found = neon_settings.read({**emulator.exported, "NEON_PROJECT_ID": neon.id}.get)

    assert emulator.exported["NEON_API_KEY"] not in repr(found) + str(found)
