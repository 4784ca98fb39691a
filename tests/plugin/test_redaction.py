"""What is a password, and what only looks like one."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from tests.plugin.projects import on_files

from pytest_branches.redaction import Redaction

pytestmark = on_files


@pytest.mark.parametrize(
    ("url", "text", "shown"),
    [
        ("postgresql://me:hush@host/db", "postgresql://me:hush@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:hush@host/db", "{'password': 'hush', 'host': 'host'}", "{'password': '***', 'host': 'host'}"),
        ("postgresql://me:hush@host/db", "a hushed word", "a hushed word"),
        ("postgresql://me:p%40ss@host/db", "p@ss p%40ss", "*** ***"),
        ("postgresql://me@host/db?password=hush", "password=hush&x=y", "password=***&x=y"),
        ("postgresql://postgres:postgres@host/db", "postgres://postgres:postgres@h", "postgres://postgres:***@h"),
        ("sqlite:///a.sqlite", "nothing to hide", "nothing to hide"),
    ],
)
def test_passwords_are_hidden(url: str, text: str, shown: str) -> None:
    """As they are, and as a URL writes them; one that is also a name is hidden in its place alone."""
    assert Redaction([sa.make_url(url)]).text(text) == shown
