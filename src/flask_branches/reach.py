"""Databases out of this process's reach, for the time of a block."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from flask_branches import embedded, ours, places, urls
from flask_branches.configured import engines_of
from flask_branches.errors import Refused
from flask_branches.isolation.connection import Virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask
    from sqlalchemy.pool import ConnectionPoolEntry

    from flask_branches.places import Place

    Look = Callable[[Any, Place], None]

_PLACE = "flask_branches_place"


@contextmanager
def looking(look: Look) -> Iterator[None]:
    """Look at every connection when it leaves its pool: so does one that is used without an engine's own methods."""

    def checked_out(connection: object, entry: ConnectionPoolEntry, _proxy: object) -> None:
        if ours.are_connecting() or isinstance(connection, Virtual):
            return
        if _PLACE not in entry.info:
            entry.info[_PLACE] = places.of_connection(connection)
        if (place := entry.info[_PLACE]) is not None:
            look(connection, place)

    sa.event.listen(sa.pool.Pool, "checkout", checked_out)
    try:
        yield
    finally:
        sa.event.remove(sa.pool.Pool, "checkout", checked_out)


@contextmanager
def kept_out_of(own: list[tuple[Place, str]], why: str) -> Iterator[None]:
    """Refuse every connection of this process to an application's own databases.

    Args:
        own: where they are, and how they are shown.
        why: what goes on meanwhile, and what to do instead.

    Raises:
        Refused: in the block, to whoever connects.
    """

    def look(_connection: object, place: Place) -> None:
        for mine, shown in own:
            if place.may_be(mine):
                raise Refused(f"{shown} is the application's own database, which nothing connects to while {why}")

    with looking(look):
        yield


def own_of(app: Flask) -> list[tuple[Place, str]]:
    """Where an application's databases are, and how they are shown.

    Where a server of an application's own is, its URL does not say; and what is in memory is no other's.
    """
    return [
        (places.of_url(engine.url), urls.shown(engine.url))
        for engine in engines_of(app).values()
        if not embedded.is_served(engine) and not urls.is_memory(engine.url)
    ]
