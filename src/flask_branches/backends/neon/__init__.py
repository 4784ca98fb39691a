"""Branches of Neon: each is one of the service's own, made by its API."""

from __future__ import annotations

from flask_branches.backends.neon.backend import Neon
from flask_branches.backends.neon.beside import Beside
from flask_branches.backends.neon.marks import kept_name

__all__ = ["Beside", "Neon", "kept_name"]
