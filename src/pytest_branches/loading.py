"""The application that the ini file names."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from flask import Flask
from flask.cli import NoAppException, find_app_by_string, find_best_app

from flask_branches.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def load_app(spec: str, root: Path) -> tuple[Flask, bool]:
    """The application of ``package:create_app``, ``package:create_app("name")`` or ``module:app``.

    Args:
        spec: as ``flask --app`` has it.
        root: where modules are looked for as well.

    Returns:
        The application, and whether it is the module's own: then importing it gives the same object.

    Raises:
        ConfigurationError: with what cannot be imported, found or made.
    """
    name, _, attribute = spec.partition(":")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    try:
        module = importlib.import_module(name.strip())
        app = find_app_by_string(module, attribute.strip()) if attribute else find_best_app(module)
    except (NoAppException, ImportError) as error:
        said = str(error).strip().split("\n")[0]
        raise ConfigurationError(f"branches_app is {spec!r}, from which no application can be had: {said}") from error
    if "branches" not in app.extensions:
        raise ConfigurationError(
            f"branches_app is {spec!r}, whose application has no branches: call Branches(app) there."
        )
    return app, any(value is app for value in vars(module).values() if isinstance(value, Flask))
