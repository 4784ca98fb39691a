"""What is hidden in a branch before anybody is told where it is."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from tests.branches.worlds import not_on_neon

from flask_branches import Branch, Branches, ConfigurationError, MaskFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.branches.worlds import Client, World

    At = Callable[[str | Branch], Client]
    MakeWorld = Callable[..., World]


@pytest.fixture
def masked(kind: str, make_world: MakeWorld) -> Callable[..., World]:
    """Make the application with masks, on every kind of database."""
    return lambda binds=False, **masks: make_world(
        kind, binds=binds, BRANCHES_MASKS={key.replace("__", "."): value for key, value in masks.items()}
    )


def test_what_is_masked_is_hidden_in_every_branch(masked: Callable[..., World], at: At) -> None:
    """In the binds too, in branches of branches too; main keeps what it has."""
    world = masked(binds=True, note__text="'note ' || id", tag__text="upper(text)")

    branch = world.branches.create("mine", expires_in=None)
    child = world.branches.create("child", parent="mine")

    for each in (branch, child):
        assert at(each).texts() == ["note 1", "note 2"]
        assert at(each.binds["second"]).texts("tag") == ["RED", "GREEN"]
    assert world.texts() == ["first", "second"]


@not_on_neon("a branch with masks is not reset")
def test_what_is_masked_is_hidden_after_a_reset_too(masked: Callable[..., World], at: At) -> None:
    """What has come to the parent meanwhile is masked before anybody sees it."""
    world = masked(binds=True, note__text="'note ' || id", tag__text="upper(text)")
    branch = world.branches.create("mine")
    world.add("third")

    assert at(world.branches.reset("mine")).texts() == ["note 1", "note 2", "note 3"]
    assert at(branch.binds["second"]).texts("tag") == ["RED", "GREEN"]
    assert world.texts() == ["first", "second", "third"]


def test_nobody_sees_a_branch_before_it_is_masked(masked: Callable[..., World]) -> None:
    """While the masks run it is not in the list."""
    world = masked(note__text="'hidden'")
    seen = []
    with _listening(lambda: seen.append(list(world.branches.list()))):
        world.branches.create("mine")

    assert seen == [[]]
    assert [each.name for each in world.branches.list()] == ["mine"]


def _listening(act: Callable[[], Any]) -> Any:
    def hear(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("UPDATE note"):
            act()

    @contextmanager
    def listening() -> Iterator[None]:
        sa.event.listen(sa.Engine, "before_cursor_execute", hear)
        try:
            yield
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", hear)

    return listening()


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (
            {"note__text": "no_such_function(text)"},
            r"^The mask of note\.text failed, and the branch 'mine' was deleted: .*",
        ),
        ({"note__text": "no_such_column"}, r"no_such_column.*Correct BRANCHES_MASKS\.$"),
        ({"note__text": "text ||"}, r"syntax error.*Correct BRANCHES_MASKS\.$"),
        ({"note__nothing": "NULL"}, r"^The mask of note\.nothing failed.*nothing"),
        (
            {"note__text": "NULL"},
            r"^The mask of note\.text failed.* whose text may hold data; run the expression by hand",
        ),
        (
            {"notes__text": "'x'"},
            r"^BRANCHES_MASKS names notes\.text, and no database has such a table; the branch 'mine'",
        ),
        (
            {"public2__note__text": "'x'"},
            r"^BRANCHES_MASKS names public2\.note\.text, and no database has such a table",
        ),
        (
            {"note__text": "'x'", "a__b": "1", "c__d": "1"},
            r"^BRANCHES_MASKS names a\.b, c\.d, .* was deleted\. Correct the name\.$",
        ),
    ],
)
def test_a_mask_that_cannot_be_run_leaves_no_branch(masked: Callable[..., World], mask: Any, said: str) -> None:
    """Half hidden is not hidden; the message shows no data."""
    world = masked(binds=True, **mask)

    with pytest.raises(MaskFailed, match=said) as raised:
        world.branches.create("mine")

    assert "first" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert [each.backend.branches() for each in world.branches.databases.all] == [[], []]
    assert world.branches.databases.sweep(dry_run=True) == []


def test_a_mask_that_has_not_reached_every_row_leaves_no_branch(masked: Callable[..., World]) -> None:
    """It has not failed, and has hidden only some: the message says how many."""
    world = masked(note__text="'hidden'")

    with (
        _spoilt("UPDATE note"),
        pytest.raises(MaskFailed, match=r"^The mask of note\.text failed, .*: 1 of 2 rows were"),
    ):
        world.branches.create("mine")

    assert world.branches.list() == []


@contextmanager
def _spoilt(start: str) -> Iterator[None]:
    """Let a statement miss rows."""

    def spoil(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> tuple[str, Any]:
        return f"{statement} WHERE id = 1" if statement.startswith(start) else statement, parameters

    sa.event.listen(sa.Engine, "before_cursor_execute", spoil, retval=True)
    try:
        yield
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", spoil)


@not_on_neon("a branch with masks is not reset")
def test_a_mask_that_fails_at_a_reset_leaves_the_branch_as_it_was(masked: Callable[..., World], at: At) -> None:
    """And the message does not say that anything was deleted."""
    world = masked(note__text="'hidden'", extra__text="'hidden'")
    with world.db.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE extra (text TEXT)")
    branch = world.branches.create("mine")
    with world.db.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE extra")

    with pytest.raises(MaskFailed, match=r"^BRANCHES_MASKS names extra\.text, .*; the branch 'mine' was not reset\."):
        world.branches.reset("mine")
    assert at(branch).texts() == ["hidden", "hidden"]
    assert at(branch).run("SELECT * FROM extra") == []


def test_where_there_is_no_table_there_is_nothing_to_hide(masked: Callable[..., World], at: At) -> None:
    """A branch that begins empty is no failure of the masks."""
    world = masked(note__text="'hidden'")

    branch = world.branches.create(parent="empty")

    with pytest.raises(sa.exc.DBAPIError):
        at(branch).texts()


def test_percent_signs_and_colons_are_the_expression_s_own(masked: Callable[..., World], at: At) -> None:
    """Nobody takes them for a parameter."""
    world = masked(note__text="CASE WHEN text LIKE 'f%' THEN '100 %s :x' ELSE text END")

    assert at(world.branches.create()).texts() == ["100 %s :x", "second"]


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        (["note.text"], r"^BRANCHES_MASKS is not a mapping: write \{\"table\.column\": \"an SQL expression\"\}\.$"),
        ({"note": "1"}, r"^BRANCHES_MASKS has the key 'note': write table\.column, or schema\.table\.column\.$"),
        ({"a.b.c.d": "1"}, r"^BRANCHES_MASKS has the key 'a\.b\.c\.d'"),
        ({7: "1"}, r"^BRANCHES_MASKS has the key 7"),
        ({"note.text": " "}, r"^BRANCHES_MASKS has no SQL expression for note\.text: write one, such as 'NULL'\.$"),
        ({"note.text": None}, r"^BRANCHES_MASKS has no SQL expression for note\.text"),
    ],
)
def test_a_mask_that_cannot_be_read_is_refused_at_the_start(masks: Any, said: str) -> None:
    """When the application is made, not when production is copied."""
    from flask import Flask

    app = Flask("app")
    app.config["BRANCHES_MASKS"] = masks
    with pytest.raises(ConfigurationError, match=said):
        Branches(app)
