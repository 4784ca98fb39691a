"""Faults that requests meet on purpose, and what was asked: a layer around the API."""

from __future__ import annotations
