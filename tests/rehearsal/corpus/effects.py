"""What several migrations of the corpus have in common."""

from __future__ import annotations

from tests.rehearsal.corpus.case import Source, Truth

BIG = "public.big"
KEY = "public.big_pkey"
TOAST = "toast of public.big"
AUTHOR = "public.author"
AUTHOR_KEY = "public.author_pkey"
ALL = frozenset({BIG})

STRICTEST = Source("sql-altertable.html", "An ACCESS EXCLUSIVE lock is acquired unless explicitly noted.")
"""Of every form of ALTER TABLE."""

STRICT = {BIG: "ACCESS EXCLUSIVE"}
EXCLUSIVELY = Truth(STRICT, reads=ALL, writes=ALL)
"""The table's definition alone changes."""

FILES = {BIG: "ACCESS EXCLUSIVE", KEY: "ACCESS EXCLUSIVE", TOAST: "ACCESS EXCLUSIVE"}
REWRITTEN = Truth(FILES, reads=ALL, writes=ALL, rewrites=ALL)
"""All rows are copied, and the table's indexes built anew."""

WRITTEN = {BIG: "ROW EXCLUSIVE", KEY: "ROW EXCLUSIVE"}
