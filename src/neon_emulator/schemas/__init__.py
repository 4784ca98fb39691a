"""The wire: what requests look like, and what answers do."""

from __future__ import annotations
