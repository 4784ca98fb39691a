"""Neon's management API on this machine, each branch a real Postgres cluster."""

from __future__ import annotations
