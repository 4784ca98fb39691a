"""The application that the ini file names."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from flask.cli import find_app_by_string, find_best_app

from flask_branches.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from flask import Flask


WROTE = (
    "The application writes to a database while it is made or imported, which tests never do to one that is named: "
    "take that, such as db.create_all(), out of there, into a migration or a command."
)
_READ_ONLY = {"SQLITE_READONLY", "25006"}


def load_app(spec: str, root: Path) -> tuple[Flask, ModuleType | None]:
    """The application of ``package:create_app``, ``package:create_app("name")`` or ``module:app``.

    Args:
        spec: as ``flask --app`` has it.
        root: where modules are looked for as well.

    Returns:
        The application, and the module whose own it is: then importing that gives the same object.

    Raises:
        ConfigurationError: with what cannot be imported, found or made.
    """
    name, _, attribute = spec.partition(":")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    try:
        module = importlib.import_module(name.strip())
        app = find_app_by_string(module, attribute.strip()) if attribute else find_best_app(module)
    except (Exception, SystemExit) as error:
        if wrote(error):
            raise ConfigurationError(f"branches_app is {spec!r}. {WROTE}") from error
        where = " A folder of modules is named by pythonpath in the ini file."
        raise ConfigurationError(
            f"branches_app is {spec!r}, from which no application can be had: {_said(error)}."
            f"{where if isinstance(error, ModuleNotFoundError) else ''}"
        ) from error
    if "branches" not in app.extensions:
        raise ConfigurationError(
            f"branches_app is {spec!r}, whose application has no branches: call Branches(app) there."
        )
    return app, module if any(value is app for value in vars(module).values()) else None


def wrote(error: BaseException | None) -> bool:
    """Whether an error is that somebody has written to a database that could only be read."""
    while error is not None:
        code = getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", getattr(error, "pgcode", None))
        if code in _READ_ONLY:
            return True
        error = getattr(error, "orig", None) or error.__cause__ or error.__context__
    return False


def _said(error: BaseException) -> str:
    """The kind of an error, and the first line of what it says."""
    text = str(error).strip().split("\n")[0].rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
