"""Branches of a database, SQLite, Postgres or Neon, for any Flask-SQLAlchemy application."""

from __future__ import annotations

from flask_branches.branch import Branch
from flask_branches.errors import (
    BranchesError,
    BranchExists,
    BranchNotFound,
    ConfigurationError,
    DatabaseFailed,
    DatabaseInUse,
    InvalidValue,
    IsolationError,
    MaskFailed,
    MigrationFailed,
    NeonError,
    NoServer,
    NotSupported,
    Refused,
)
from flask_branches.extension import Branches

__all__ = [
    "Branch",
    "BranchExists",
    "BranchNotFound",
    "Branches",
    "BranchesError",
    "ConfigurationError",
    "DatabaseFailed",
    "DatabaseInUse",
    "InvalidValue",
    "IsolationError",
    "MaskFailed",
    "MigrationFailed",
    "NeonError",
    "NoServer",
    "NotSupported",
    "Refused",
]
