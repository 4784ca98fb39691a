"""`flask branches list`: a tree, with ages and expiries, for people and for other programs."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from tests.branches.worlds import not_on_neon

from flask_branches import urls
from flask_branches.branch import in_short, now, written

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result
    from tests.branches.worlds import World

    Call = Callable[..., Result]


def test_the_branches_are_listed_as_a_tree(one: World, call: Call) -> None:
    """Main first, children under their parents; those that began empty are roots."""
    one.branches.create("a", expires_in=None)
    one.branches.create("b", parent="a", expires_in="1h")
    one.branches.create("c", parent="empty", expires_in=None)

    rows = [line.split("  ") for line in call("list").stdout.splitlines()]

    a, b, c = (one.branches.get(name) for name in "abc")
    assert [[re.sub(r"^\d+s$", "?s", cell.strip()) for cell in row if cell] for row in rows] == [
        ["main", urls.shown(one.main)],
        ["a", "?s", "never expires", a.safe_url],
        ["b", "?s", f"expires {written(b.expires_at)}", b.safe_url],
        ["c", "?s", "never expires", c.safe_url],
    ]
    lines = call("list").stdout.splitlines()
    assert [len(line) - len(line.lstrip()) for line in lines] == [0, 2, 4, 0]
    assert json.loads(call("list", "--json").stdout) == [each.as_dict() for each in one.branches.list()]


@not_on_neon("what has expired is gone")
def test_what_has_expired_is_listed_as_such(one: World, call: Call) -> None:
    """Until somebody prunes it."""
    branch = one.branches.databases.update(one.branches.create("mine"), now())

    assert call("list").stdout.splitlines()[1].split()[2:4] == ["expired", written(branch.expires_at)]


def test_on_a_terminal_the_list_has_a_head(one: World) -> None:
    """Written by rich; elsewhere there is nothing but the lines, for other programs to read."""
    one.branches.create("mine")
    one.let_go()
    command = [sys.executable, "-m", "flask", "--app", "notes", "branches", "list"]
    environ = one.environ(COLUMNS="200", TERM="xterm", NO_COLOR="1")
    outer, inner = pty.openpty()
    subprocess.run(command, stdout=inner, env=environ, check=True, timeout=60)
    os.close(inner)
    shown = _read(outer)
    piped = subprocess.run(command, capture_output=True, text=True, env=environ, check=True, timeout=60).stdout

    assert "branch" in shown.splitlines()[0]
    assert all(word in shown.splitlines()[0] for word in ("age", "expires"))
    assert "mine" in shown
    assert "\x1b" not in piped
    assert [line.split()[0] for line in piped.splitlines()] == ["main", "mine"]


def _read(terminal: int) -> str:
    found = b""
    try:
        while part := os.read(terminal, 4096):
            found += part
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(terminal)
    return found.decode()


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0s"), (59, "59s"), (60, "1m"), (3_599, "59m"), (3_600, "1h"), (172_800, "2d")]
)
def test_an_age_is_said_by_its_largest_unit(seconds: int, said: str) -> None:
    """As durations are written everywhere here."""
    assert in_short(timedelta(seconds=seconds)) == said
