"""A project with the guests' application, and the database on Neon that its tests get branches of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.emulator.running import until
from tests.neon.untouched import dump

if TYPE_CHECKING:
    import psycopg
    from tests.emulator.running import Emulator, Project
    from tests.plugin import projects

APPS = Path(__file__).parent / "apps"
ROWS = 1000

CONFTEST = """
    import pytest
    from guests import create_app

    @pytest.fixture(scope="session")
    def app(branch):
        return create_app(branch.url)
"""
TESTS = f"""
    import pytest
    from guests import Guest, db

    ROWS = {ROWS}

    @pytest.mark.parametrize("number", range(3))
    def test_rolled_back(app, number):
        answer = app.test_client().post("/guests", json={{"name": "new"}})
        assert answer.json == {{"guests": ROWS + 1}}
        assert db.session.query(Guest).filter_by(visits=1).count() == ROWS + 1

    @pytest.mark.branches(isolation="none")
    def test_it_stays(app):
        db.session.add(Guest(name="stays"))
        db.session.commit()
        db.session.query(Guest).filter_by(name="stays").delete()
        db.session.commit()
"""


@dataclass
class Production:
    """The default branch of a project on the emulator: the guests' table as the first migration left it, with rows."""

    emulator: Emulator
    neon: Project

    @property
    def url(self) -> str:
        """Where it is."""
        return self.neon.uri()

    @property
    def variables(self) -> dict[str, str]:
        """What leads the application, and Neon's clients, there."""
        exported = self.emulator.exported
        return {
            "DATABASE_URL": self.url,
            "NEON_API_HOST": exported["NEON_API_HOST"],
            "NEON_API_KEY": exported["NEON_API_KEY"],
            "NEON_PROJECT_ID": self.neon.id,
        }

    def fill(self) -> None:
        """Make the table, with rows."""
        with self.neon.connect() as connection:
            self.fill_over(connection)

    @staticmethod
    def fill_over(connection: psycopg.Connection[Any]) -> None:
        """Make the table, with rows, wherever a connection leads."""
        connection.execute("CREATE TABLE guest (id SERIAL PRIMARY KEY, name VARCHAR NOT NULL)")
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        connection.execute("INSERT INTO alembic_version VALUES ('0001')")
        connection.execute("INSERT INTO guest (name) SELECT 'guest ' || n FROM generate_series(1, %s) AS n", [ROWS])

    def dump(self) -> str:
        """A digest of all of its schema and data, as pg_dump writes them."""
        return dump(self.url)

    def branches(self) -> list[dict[str, Any]]:
        """Every other branch."""
        return [each for each in self.neon.branches() if each["id"] != self.neon.main]

    def clear(self) -> None:
        """Delete every other branch, children first, and forget what was to go wrong."""
        self.neon.client.control("DELETE", "faults", status=204)
        while there := self.branches():
            parents = {each.get("parent_id") for each in there}
            for each in there:
                path = f"{self.neon.path}/branches/{each['id']}"
                if each["protected"]:
                    self.neon.client.patch(path, {"branch": {"protected": False}})
                if each["id"] not in parents:
                    self.neon.client.delete(path)

    def suspend(self) -> None:
        """Let its compute sleep: whoever connects wakes it, and is seen."""
        (endpoint,) = self._endpoints()
        self.neon.client.http.post(f"projects/{self.neon.id}/endpoints/{endpoint['id']}/suspend")
        until(lambda: not self.is_awake())

    def is_awake(self) -> bool:
        """Whether somebody has connected to it since then."""
        return bool(self._endpoints()[0]["current_state"] != "idle")

    def _endpoints(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.neon.client.get(f"{self.neon.path}/branches/{self.neon.main}/endpoints")[
            "endpoints"
        ]
        return found


def crowded(emulator: Emulator, others: int) -> Production:
    """A production in a project that has other branches beside it."""
    made = Production(emulator, emulator.client().project())
    made.fill()
    for number in range(others):
        made.neon.branch(name=f"branch {number}", compute=False)
    return made


def lead(project: projects.Project, production: Production) -> None:
    """Let a project's runs find production."""
    for name, value in production.variables.items():
        project.variable(name, value)
