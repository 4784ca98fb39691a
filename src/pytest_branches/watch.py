"""The application's own databases out of reach while a run lives: whatever connects to them is refused."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import sqlalchemy as sa

from flask_branches import embedded, urls
from flask_branches.backends import postgres_server
from flask_branches.configured import engines_of
from flask_branches.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

    from pytest_branches.plan import Plan


@contextmanager
def watched(plan: Plan) -> Iterator[None]:
    """Refuse, for the time of a block, every engine of this process that leads to one of the application's databases.

    A fixture may create its tables, or drop them, in an application that was never given the branch; a test may make an
    application of its own; an ``env.py`` may look for its database by itself.
    """
    own = {
        urls.key(engine.url): urls.shown(engine.url)
        for engine in engines_of(plan.app).values()
        # Where a server of an application's own is, its URL does not say; and what is in memory is no other's.
        if not embedded.is_served(engine) and not urls.is_memory(engine.url)
    }
    known: dict[sa.URL, str | None] = {}

    def look(connection: Connection) -> None:
        if connection.get_execution_options().get(postgres_server.OWN):
            return
        url = connection.engine.url
        if url not in known:
            known[url] = own.get(urls.key(url))
        if (shown := known[url]) is not None and not embedded.is_served(connection.engine):
            connection.invalidate()  # not one for its pool
            connection.close()
            raise Refused(
                f"{shown} is the application's own database, which nothing connects to while tests run: "
                "take the fixture branch and use its URL; or, in a test of a module-level application, the fixture app "
                "or the marker branches."
            )

    sa.event.listen(sa.Engine, "engine_connect", look)
    try:
        yield
    finally:
        sa.event.remove(sa.Engine, "engine_connect", look)
