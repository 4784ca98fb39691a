"""A migration whose effect PostgreSQL's documentation states, and what that effect is."""

from __future__ import annotations

from dataclasses import dataclass, field
from textwrap import dedent, indent
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DOCS = "https://www.postgresql.org/docs/18/"
MODES = (
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
)
"""The weakest first: https://www.postgresql.org/docs/18/explicit-locking.html, table 13.2."""


@dataclass(frozen=True)
class Source:
    """A sentence of PostgreSQL's documentation."""

    page: str
    """Below the documentation's root, or a URL."""
    says: str

    @property
    def url(self) -> str:
        """Where it stands."""
        return self.page if "//" in self.page else DOCS + self.page


@dataclass(frozen=True)
class Truth:
    """What a migration does to what was there before it."""

    locks: Mapping[str, str] = field(default_factory=dict)
    """By object, the strongest that is held; a TOAST table is called after its own: ``toast of public.big``."""
    glimpsed: Mapping[str, str] = field(default_factory=dict)
    """By object, the strongest that is held on some versions alone, or for a moment that is easily missed."""
    reads: frozenset[str] = frozenset()
    """The tables whose readers have to wait."""
    writes: frozenset[str] = frozenset()
    """The tables whose writers have to wait."""
    rewrites: frozenset[str] = frozenset()
    """The tables that get another file, and the indexes that do so while their table keeps its own."""
    truncates: bool = False
    """Whether that file is empty, and nothing was copied."""
    builds: Mapping[str, bool] = field(default_factory=dict)
    """The indexes that are built on tables that were there, be it again under the same name; whether writers go on."""
    validates: Mapping[str, bool] = field(default_factory=dict)
    """The tables of which a constraint is said to hold for all rows; whether these are read for it."""
    rows: Mapping[str, tuple[int | None, int | None]] = field(default_factory=dict)
    """How many a table has before and after where that changes, in thousandths of the big table; None for no table."""

    def sure(self, seen: Mapping[str, str]) -> dict[str, str]:
        """The locks that were seen, without what may be glimpsed of them beside those that are always there."""
        return {name: self._sure(name, mode) for name, mode in seen.items() if self._sure(name, mode)}

    def counted(self, rows: int) -> dict[str, tuple[int | None, int | None]]:
        """How many rows the tables have, where the big one has that many."""
        return {table: (_share(before, rows), _share(after, rows)) for table, (before, after) in self.rows.items()}

    def _sure(self, name: str, mode: str) -> str:
        always, most = self.locks.get(name, ""), self.glimpsed.get(name, "")
        order = ("", *MODES)
        return always if order.index(always) <= order.index(mode) <= order.index(most) else mode


@dataclass(frozen=True)
class Case:
    """A migration, and the truth about it."""

    name: str
    upgrade: str
    """The body of its ``upgrade``."""
    downgrade: str
    truth: Truth
    sources: tuple[Source, ...]
    setup: str = ""
    """The SQL that makes what it needs beside the tables that are always there."""
    since: int = 15
    """The oldest version that has this."""
    remark: str = ""
    """What the server does beyond its documentation, or against it."""

    def module(self, revision: str, down: str | None) -> str:
        """It as Alembic loads it."""
        return "\n".join(
            [
                f'"""{self.name.capitalize()}."""',
                "import sqlalchemy as sa",
                "from alembic import op",
                f"revision, down_revision = {revision!r}, {down!r}",
                f"def upgrade():\n{_body(self.upgrade)}",
                f"def downgrade():\n{_body(self.downgrade)}",
                "",
            ]
        )


def _share(thousandths: int | None, rows: int) -> int | None:
    return None if thousandths is None else thousandths * rows // 1000


def _body(code: str) -> str:
    return indent(dedent(code).strip(), "    ")
