"""All of the corpus."""

from __future__ import annotations

from tests.rehearsal.corpus import columns, constraints, data, indexes, tables

CASES = {case.name: case for room in (columns, constraints, indexes, tables, data) for case in room.CASES}
