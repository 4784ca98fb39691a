"""Postgres clusters: made, copied while they run, brought back to a past point, started while somebody needs them."""

from __future__ import annotations
