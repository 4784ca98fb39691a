"""What the emulator remembers across its restarts."""

from __future__ import annotations
