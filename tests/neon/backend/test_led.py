"""What leads a connection elsewhere than a URL says: on Neon it would lead from every branch back to main."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_branches import Branches, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.branches.worlds import World
    from tests.emulator.running import Project

    MakeWorld = Callable[..., World]

_WAYS: list[dict[str, Any]] = [{}, {"parent": "empty"}, {"data": "empty"}]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("conninfo", "host=127.0.0.1"),
        ("dbname", "neondb"),
        ("host", "127.0.0.1"),
        ("hostaddr", "127.0.0.1"),
        ("options", "-c geqo=off endpoint=ep-old-river-1"),
        ("options", "project=ep-old-river-1"),
        ("password", "hunter2"),
        ("port", 5432),
        ("service", "production"),
        ("user", "somebody"),
    ],
)
def test_connect_args_that_lead_somewhere_are_refused(world: World, project: Project, key: str, value: object) -> None:
    """The key is named, and its value is not; nothing was made, and main is as it was."""
    for masks in ({}, {"note.text": "'x'"}):
        app = Flask("led")
        app.config.update(world.variables, SQLALCHEMY_DATABASE_URI=world.main, BRANCHES_MASKS=masks)
        app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"connect_args": {key: value}}
        SQLAlchemy(app)
        branches = Branches(app)
        for options in _WAYS:
            with (
                app.app_context(),
                pytest.raises(ConfigurationError, match=rf" say '{key}', .* on Neon, write it in the URL\.$") as raised,
            ):
                branches.create("mine", **options)
            assert "hunter2" not in str(raised.value)

    assert [each["name"] for each in project.branches()] == ["main"]
    assert world.texts() == ["first", "second"]


def test_connect_args_that_lead_nowhere_else_are_used(world: World, make_world: MakeWorld) -> None:
    """Options that name no endpoint, a name for the session."""
    args = {"application_name": "mine", "options": "-c geqo=off"}
    there = make_world(
        "neon", name="there", url=world.main, fill=False, SQLALCHEMY_ENGINE_OPTIONS={"connect_args": args}
    )

    assert there.branches.create("mine").name == "mine"


@pytest.fixture
def misled(world: World) -> Iterator[list[str]]:
    """Whatever is connected to, main's server is there; gives the statements that it is sent."""
    statements: list[str] = []

    def lead(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
        parameters.update(host=world.main.host, port=world.main.port, password=world.main.password)

    def hear(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    sa.event.listen(sa.Engine, "do_connect", lead)
    sa.event.listen(sa.Engine, "before_cursor_execute", hear)
    yield statements
    sa.event.remove(sa.Engine, "do_connect", lead)
    sa.event.remove(sa.Engine, "before_cursor_execute", hear)


@pytest.mark.parametrize("options", _WAYS)
def test_a_connection_that_arrives_elsewhere_is_given_up(
    world: World, project: Project, misled: list[str], options: dict[str, Any]
) -> None:
    """At once, by what the driver says of where it is, before any statement; the branch is deleted."""
    world.let_go()

    with pytest.raises(ConfigurationError, match=rf" leads to 127\.0\.0\.1:{world.main.port}: take what says so out"):
        world.branches.create("mine", **options)

    assert misled == []
    assert [each["name"] for each in project.branches()] == ["main"]
    assert world.texts() == ["first", "second"]
