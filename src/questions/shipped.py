"""Files that stand at the top of a checkout and travel inside the wheel: ``migrations/`` and ``config/``."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped(name: str) -> Path:
    """The folder of that name: the installed package's own, else the checkout's.

    Args:
        name: ``"migrations"`` or ``"config"``.
    """
    installed = _PACKAGE / "_shipped" / name
    return installed if installed.is_dir() else _PACKAGE.parent.parent / name
