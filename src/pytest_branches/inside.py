"""Databases inside one branch of Neon: copies of the one that it was made with, which come and go with it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import sqlalchemy as sa

from flask_branches import configured, databases, record, urls
from flask_branches.branch import MAIN
from flask_branches.record import RUN

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Any

    from flask_branches import Branch

_TEMPLATE = "template"


class Inside:
    """Copies of the databases that a branch has.

    Args:
        branch: it, or a database of it.
        run: the run that they belong to.
        connect_args: what the application passes to its driver beside the URL.
    """

    def __init__(self, branch: Branch, run: str, connect_args: Mapping[str, Any]) -> None:
        self._run = run
        self._parent = MAIN
        self._made: set[str] = set()
        self._there = _databases(branch, connect_args)

    def size(self) -> int:
        """How large the databases are, in bytes."""
        total = 0
        for each in self._there.all:
            with databases.connected(each.backend.main, each.connect_args) as connection:
                if connection.dialect.name == "postgresql":
                    total += connection.execute(sa.text("SELECT pg_database_size(current_database())")).scalar_one()
        return total

    def keep_a_template(self) -> None:
        """Copy from what they are now, whatever is written to them later."""
        self._there.create(record.made(_TEMPLATE, parent=MAIN, main=None, expires_at=None))
        self._parent = _TEMPLATE

    def copy(self, name: str, expires_at: datetime) -> Branch:
        """A copy of them all."""
        labels = {RUN: self._run}
        made = self._there.create(record.made(name, parent=self._parent, main=None, expires_at=expires_at, **labels))
        self._made.add(made.id)
        return made

    def delete(self, branch: Branch) -> None:
        """Delete a copy."""
        self._there.delete(branch)

    def has(self, branch: Branch) -> bool:
        """Whether a branch is a copy that was made here."""
        return branch.id in self._made

    def close(self) -> None:
        """Close what is kept open."""
        self._there.close()


def _databases(branch: Branch, connect_args: Mapping[str, Any]) -> databases.Databases:
    found: dict[object, databases.Database] = {}
    for key, text in ({None: branch.url} | dict(branch.binds)).items():
        url = urls.parsed(text)
        same = urls.key(url)
        if same in found:
            there = found[same]
            found[same] = replace(there, keys=(*there.keys, key), own={**there.own, key: url})
        else:
            passed = dict(connect_args) if urls.backend_of(url) == "postgres" else {}
            found[same] = databases.Database((key,), configured.backend_for(url, passed), passed)
    return databases.Databases(list(found.values()), {})
