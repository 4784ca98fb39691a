"""What would be run to make the tables of an application's models, as text; nothing is run."""

from __future__ import annotations

import functools
import inspect
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from sqlalchemy.sql.ddl import SchemaGenerator
from sqlalchemy.types import SchemaType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.engine.mock import MockConnection


def statements(metadata: sa.MetaData, url: sa.URL) -> list[str]:
    """Every statement that makes all tables, types and sequences, and what DDL events add; in no order of a run.

    Args:
        metadata: the models' tables.
        url: where they would be made: its dialect counts.
    """
    found: list[str] = []

    def take(statement: sa.schema.ExecutableDDLElement, *_: object, **__: object) -> None:
        try:
            found.append(str(statement.compile(dialect=engine.dialect)))
        except sa.exc.CompileError:  # whoever makes the tables will say so
            found.append("?")

    engine = sa.create_mock_engine(url, take)
    _Recorder(engine, found).traverse_single(metadata)
    return sorted(found)


class _Recorder(SchemaGenerator):
    """Goes where ``create_all`` goes; a function that listens there is not called, since it may write anywhere."""

    def __init__(self, connection: MockConnection, found: list[str]) -> None:
        super().__init__(connection.dialect, connection, checkfirst=False)  # type: ignore[no-untyped-call]  # SQLAlchemy has not annotated it
        self._found = found

    @contextmanager
    def with_ddl_events(self, target: Any, **options: Any) -> Iterator[None]:  # noqa: ANN401  tables, sequences, metadata; `dispatch` is in no type of theirs
        for listener in target.dispatch.before_create:
            self._note(listener, target, options)
        yield
        for listener in target.dispatch.after_create:
            self._note(listener, target, options)

    def _note(self, listener: Any, target: Any, options: dict[str, Any]) -> None:  # noqa: ANN401  listeners are functions, DDL or SQLAlchemy's own wrappers
        if isinstance(listener, sa.schema.ExecutableDDLElement):
            self.connection.execute(listener.against(target))
        elif _is_of_a_type(listener):
            listener(target, self.connection, _ddl_runner=self, **options)
        else:
            self._found.append(_code(listener))


def _is_of_a_type(listener: object) -> bool:
    """Whether SQLAlchemy itself listens, to make an enum or a domain; 2.0 has a wrapper of its own for the method."""
    method = _without_arguments(listener)
    return isinstance(getattr(method, "__self__", None) or getattr(method, "target", None), SchemaType)


def _code(listener: object) -> str:
    """A function's name, and all of its module's source: it may call what stands beside it."""
    function: Any = inspect.unwrap(cast("Callable[..., object]", _without_arguments(listener)))
    named = function if hasattr(function, "__qualname__") else type(function)
    source = ""
    with suppress(KeyError, OSError, TypeError):
        source = inspect.getsource(sys.modules[named.__module__])
    return f"{named.__module__}.{named.__qualname__}\n{source}"


def _without_arguments(function: object) -> object:
    return _without_arguments(function.func) if isinstance(function, functools.partial) else function
