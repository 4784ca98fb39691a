"""Neon's rules, without HTTP and without Postgres's files."""

from __future__ import annotations
