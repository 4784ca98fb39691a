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


def _said(error: BaseException) -> str:
    """The kind of an error, and the first line of what it says."""
    text = str(error).strip().split("\n")[0].rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
