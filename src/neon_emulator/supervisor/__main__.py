"""`python -m neon_emulator.supervisor`."""

from __future__ import annotations

from neon_emulator.supervisor.process import main

main()
