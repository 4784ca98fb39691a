"""What an application gets in place of its driver's cursor: every statement is looked at first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask_branches.isolation.connection import Virtual


class VirtualCursor:
    """The driver's cursor, whose statements are looked at before they run."""

    __slots__ = ("_real", "_virtual")

    def __init__(self, real: Any, virtual: Virtual) -> None:
        object.__setattr__(self, "_real", real)
        object.__setattr__(self, "_virtual", virtual)

    def execute(self, statement: object, *arguments: Any, **named: Any) -> Self:
        """Run a statement."""
        self._virtual.run(statement, lambda said: self._real.execute(said, *arguments, **named))
        return self

    def executemany(self, statement: object, *arguments: Any, **named: Any) -> Self:
        """Run a statement many times."""
        self._virtual.run(statement, lambda said: self._real.executemany(said, *arguments, **named))
        return self

    def copy(self, statement: object, *arguments: Any, **named: Any) -> Any:
        """Copy rows, as psycopg does."""
        return self._virtual.run(statement, lambda said: self._real.copy(said, *arguments, **named))

    def stream(self, statement: object, *arguments: Any, **named: Any) -> Any:
        """Stream rows, as psycopg does."""
        return self._virtual.run(statement, lambda said: self._real.stream(said, *arguments, **named))

    def copy_expert(self, statement: object, *arguments: Any, **named: Any) -> Any:
        """Copy rows, as psycopg2 does."""
        return self._virtual.run(statement, lambda said: self._real.copy_expert(said, *arguments, **named))

    def copy_from(self, *arguments: Any, **named: Any) -> Any:
        """Store rows, as psycopg2 does."""
        return self._virtual.run("COPY FROM", lambda _: self._real.copy_from(*arguments, **named))

    def copy_to(self, *arguments: Any, **named: Any) -> Any:
        """Read rows, as psycopg2 does."""
        return self._virtual.run("COPY a TO STDOUT", lambda _: self._real.copy_to(*arguments, **named))

    def callproc(self, *arguments: Any, **named: Any) -> Any:
        """Call a function, which may change anything."""
        return self._virtual.run("CALL", lambda _: self._real.callproc(*arguments, **named))

    def executescript(self, *_arguments: Any) -> Any:
        """Refuse sqlite3's script, which commits before it begins."""
        return self._virtual.executescript()

    def close(self) -> None:
        """Close the driver's."""
        self._real.close()

    @property
    def connection(self) -> Virtual:
        """Where it is from."""
        virtual: Virtual = self._virtual
        return virtual

    def __iter__(self) -> Iterator[Any]:
        return iter(self._real)

    def __next__(self) -> Any:
        return next(self._real)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: object) -> None:
        """Pass on what is the driver's."""
        setattr(self._real, name, value)
