"""This package's own connections, told from those of the application and its tests."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_connecting: ContextVar[bool] = ContextVar("flask_branches_connecting", default=False)


@contextmanager
def connecting() -> Iterator[None]:
    """Say that what is connected in the block is connected by this package, which knows where it may go."""
    token = _connecting.set(True)
    try:
        yield
    finally:
        _connecting.reset(token)


def are_connecting() -> bool:
    """Whether a connection that is made, or taken from its pool, just now is one of this package's."""
    return _connecting.get()
