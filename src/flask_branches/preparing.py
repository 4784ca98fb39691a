"""What is done to a new branch before anybody can see it."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import sqlalchemy as sa

from flask_branches import emptying
from flask_branches.backends.postgres_errors import said, sqlstate
from flask_branches.errors import DatabaseFailed
from flask_branches.tables import NO_RIGHTS, postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

    from flask_branches.branch import Data
    from flask_branches.masks import Masking

_DENIED = re.compile(r" (?:table|relation|materialized view|view) (?P<name>.+)$")


def prepare(connection: Connection, data: Data, masking: Masking, *, last: bool) -> None:
    """Empty it where that is asked for, and hide what is to be hidden.

    Args:
        connection: to the branch.
        data: what it is to begin with.
        masking: the masks of this operation.
        last: whether it is the last of the application's databases.

    Raises:
        DatabaseFailed: where the role may not do that.
        MaskFailed: where a mask cannot be run.
    """
    is_postgres = connection.dialect.name == "postgresql"
    with _owning(connection):
        if is_postgres:
            postgres.allow_writing(connection)
        if data == "empty":
            emptying.empty(connection)
            if is_postgres:
                postgres.empty_large_objects(connection)
        masking.run(connection, last=last)
        if is_postgres:
            postgres.refresh_views(connection)
        connection.commit()


@contextmanager
def _owning(connection: Connection) -> Iterator[None]:
    """What may be copied may be another role's all the same, table by table."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        if sqlstate(error) != NO_RIGHTS:
            raise
        denied = _DENIED.search(said(error))
        raise DatabaseFailed(
            f"{said(error)}. Only the owner of a table may empty it, or hide what is in it: as an administrator, run "
            f'ALTER TABLE {denied["name"] if denied else "…"} OWNER TO "{connection.engine.url.username}".'
        ) from error
