"""The file that the state is kept in."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.orm import Session

from neon_emulator.state.models import Base

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

_VERSION = 1


class UnknownState(Exception):
    """The file was written by another version of the emulator."""


class Store:
    """The state; safe to be used by several threads, of which one at a time is inside.

    Args:
        path: the file, made where it is missing.

    Raises:
        UnknownState: where another version of the emulator has written the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # A transaction takes about a millisecond, so that one lock is cheaper than to think about lost updates.
        self._lock = threading.RLock()
        path.touch(mode=0o600)  # it holds passwords; SQLite gives its companions the same mode
        # Nor are they to be read in an error's text.
        self._engine = sa.create_engine(
            f"sqlite:///{path}", connect_args={"check_same_thread": False}, hide_parameters=True
        )
        sa.event.listen(self._engine, "connect", _configure)
        self._make()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A transaction: committed at the block's end, undone where the block fails."""
        with self._lock, Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def _make(self) -> None:
        with self._lock, self._engine.begin() as connection:
            found = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
            if found not in {0, _VERSION}:
                raise UnknownState(
                    f"{self._path} is of version {found}, and this emulator writes version {_VERSION}: "
                    "name an empty folder, or use the emulator that made it."
                )
            Base.metadata.create_all(connection)
            connection.exec_driver_sql(f"PRAGMA user_version = {_VERSION}")


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")
