"""``BRANCHES_…`` and ``NEON_…``, from an application's configuration and the environment, read into a frozen object."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flask_branches import neon_settings
from flask_branches.branch import duration
from flask_branches.errors import ConfigurationError, InvalidValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from flask_branches.neon_settings import NeonSettings

PREFIX = "BRANCHES_"
BACKENDS = ("neon", "postgres", "sqlite")
# The plugin's own options have variables too; a misspelt one of either must not pass.
_NAMES = ("API_PATIENCE", "API_TIMEOUT", "AT", "BACKEND", "EXPIRE", "KEEP", "MASKS", "MIGRATE", "PARENT", "URL")
KNOWN = frozenset({f"{PREFIX}{name}" for name in _NAMES})

_DEFAULT_EXPIRY = timedelta(days=1)
_MASKED = re.compile(r"[^.]+\.[^.]+(\.[^.]+)?")


@dataclass(frozen=True)
class Config:
    """One application's settings."""

    backend: str | None = None
    expires_in: timedelta = _DEFAULT_EXPIRY
    masks: Mapping[str, str] = field(default_factory=dict)
    """SQL expressions by ``table.column`` or ``schema.table.column``."""
    neon: NeonSettings | None = None
    """How Neon is asked; None where no key or no project is set."""


def read(app_config: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Config:
    """The settings of an application: its own configuration goes before the environment; what is empty is unset.

    Args:
        app_config: the application's ``config``.
        environ: the environment; by default, the process's.

    Raises:
        ConfigurationError: for a value that cannot be used, and for a misspelt ``BRANCHES_…`` key.
    """
    environ = os.environ if environ is None else environ
    refuse_unknown("the application's configuration", app_config)
    refuse_unknown("the environment", environ)

    def find(name: str) -> object:
        value = app_config.get(name)
        return (environ.get(name) or None) if value is None or value == "" else value

    return Config(
        check_backend(find(f"{PREFIX}BACKEND")),
        _span(find, "EXPIRE") or _DEFAULT_EXPIRY,
        _masks(app_config.get(f"{PREFIX}MASKS") or {}),
        read_neon(find),
    )


def read_neon(find: Callable[[str], object]) -> NeonSettings | None:
    """How Neon is asked; None where no key or no project is set.

    Args:
        find: gives the value of a variable, None where it is not set.

    Raises:
        ConfigurationError: for a value that cannot be used.
    """
    return neon_settings.read(find, timeout=_span(find, "API_TIMEOUT"), patience=_span(find, "API_PATIENCE"))


def refuse_unknown(source: str, names: Iterable[str]) -> None:
    """Refuse a ``BRANCHES_…`` key that nothing reads.

    Raises:
        ConfigurationError: with the key that was meant, where one is close.
    """
    for name in names:
        if name.startswith(PREFIX) and name not in KNOWN:
            known = [each.removeprefix(PREFIX) for each in KNOWN]
            close = difflib.get_close_matches(name.removeprefix(PREFIX), known, n=1)
            meant = f"Did you mean {PREFIX}{close[0]}?" if close else f"There are: {', '.join(sorted(KNOWN))}."
            raise ConfigurationError(f"{name} in {source} is not a setting. {meant}")


def check_backend(name: object, what: str = f"{PREFIX}BACKEND") -> str | None:
    """The name of a backend that there is, or None.

    Raises:
        ConfigurationError: for every other name.
    """
    if name is None or (isinstance(name, str) and name in BACKENDS):
        return name
    raise ConfigurationError(f"{what} names the backend {name!r}: there are {', '.join(BACKENDS)}.")


def _span(find: Callable[[str], object], name: str) -> timedelta | None:
    value = find(f"{PREFIX}{name}")
    if value is None:
        return None
    try:
        return duration(value, f"{PREFIX}{name}")
    except InvalidValue as error:
        raise ConfigurationError(str(error)) from None


def _masks(masks: object) -> dict[str, str]:
    if not isinstance(masks, dict):
        raise ConfigurationError(f'{PREFIX}MASKS is not a mapping: write {{"table.column": "an SQL expression"}}.')
    for column, expression in masks.items():
        if not isinstance(column, str) or not _MASKED.fullmatch(column):
            raise ConfigurationError(
                f"{PREFIX}MASKS has the key {column!r}: write table.column, or schema.table.column."
            )
        if not isinstance(expression, str) or not expression.strip():
            raise ConfigurationError(f"{PREFIX}MASKS has no SQL expression for {column}: write one, such as 'NULL'.")
    return dict(masks)
