"""What an engine's connections must be like, so that many can share one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Engine

_SHARED = {"read committed", "read uncommitted"}  # which are one and the same
_KEY = "flask_branches_level"


def trouble(engine: Engine, real: object, info: dict[Any, Any], ask: Callable[[str], object]) -> str | None:
    """What is wrong with a connection, where something is.

    Args:
        engine: that it is from.
        real: the driver's connection.
        info: notes that last as long as it does.
        ask: answers a query.
    """
    wished = engine.dialect._on_connect_isolation_level  # noqa: SLF001  create_engine's isolation_level is kept nowhere else
    # sqlite3 has an attribute of three values: True, False, and neither.
    if wished == "AUTOCOMMIT" or getattr(real, "autocommit", None) is True:
        return "The engine's connections are in AUTOCOMMIT"
    if engine.dialect.name == "sqlite":
        return None
    if _KEY not in info:
        info[_KEY] = ask("SHOW transaction_isolation")
    if info[_KEY] not in _SHARED:
        return f"The engine's isolation level is {str(info[_KEY]).upper()}"
    return None
