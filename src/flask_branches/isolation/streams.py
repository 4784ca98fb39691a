"""Cursors of a Postgres server's, which an application reads in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from flask_branches.isolation.cursor import VirtualCursor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask_branches.isolation.connection import Virtual


class Stream(VirtualCursor):
    """A server's cursor: it ends with the transaction that it is from, as if there were one."""

    __slots__ = ("_rows", "lost")

    def __init__(self, real: Any, virtual: Virtual) -> None:
        super().__init__(real, virtual)
        object.__setattr__(self, "lost", False)
        object.__setattr__(self, "_rows", None)

    @property
    def real(self) -> Any:
        """The driver's own."""
        return self._real

    @property
    def question(self) -> str:
        """What the server is asked, to know whether it is there."""
        name = self._real.name.replace("'", "''")
        return f"SELECT EXISTS (SELECT FROM pg_cursors WHERE name = '{name}')"  # noqa: S608  its quotes are doubled above

    @property
    def outlives(self) -> bool:
        """Whether it was declared so that a commit leaves it open."""
        return bool(self._real.withhold)

    def lose(self) -> None:
        """Answer no more."""
        object.__setattr__(self, "lost", True)

    def execute(self, statement: object, *arguments: Any, **named: Any) -> Self:
        """Declare it, so that whatever others undo leaves it open."""
        object.__setattr__(self, "_rows", None)
        self._virtual.declare(self, lambda: super(Stream, self).execute(statement, *arguments, **named))
        return self

    def fetchone(self) -> Any:
        """Read a row."""
        return self._read(self._real.fetchone)

    def fetchmany(self, *arguments: Any, **named: Any) -> Any:
        """Read some rows."""
        return self._read(lambda: self._real.fetchmany(*arguments, **named))

    def fetchall(self) -> Any:
        """Read the rest."""
        return self._read(self._real.fetchall)

    def scroll(self, *arguments: Any, **named: Any) -> Any:
        """Go elsewhere."""
        return self._read(lambda: self._real.scroll(*arguments, **named))

    def close(self) -> None:
        """Close it, where it is open."""
        self._virtual.close_stream(self)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._rows is None:
            object.__setattr__(self, "_rows", iter(self._real))
        return self._read(lambda: next(self._rows))

    def _read(self, read: Callable[[], Any]) -> Any:
        if self.lost:
            raise self._virtual.lost_error(self._real.name)
        return self._virtual.run("FETCH", lambda _: read())
