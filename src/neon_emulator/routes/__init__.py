"""The API's paths, by its sections."""

from __future__ import annotations
