"""Three migrations, one of them dangerous, rehearsed on a production of many rows.

By hand, from the checkout's top::

    neon-emulator exec -- python tests/rehearsal/story/play.py 1000000 --report report.html

The first word is how many questions production has; whatever follows is said to `flask branches rehearse`, whose status
is this program's. DATABASE_URL and NEON_… say where production is: on an emulator, since it is filled first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from questions.shipped import shipped

if TYPE_CHECKING:
    from collections.abc import Mapping

_HERE = Path(__file__).resolve().parent
_ROWS = """
INSERT INTO questions (title, description, search)
SELECT 'Question ' || n, 'How often has it been asked?', 'question ' || n || E'\nA\nhow often has it been asked?'
FROM generate_series(1, %s) AS n
"""


_FLASK = [sys.executable, "-m", "flask", "--app"]


def fill(rows: int, environment: Mapping[str, str]) -> None:
    """Make production as today's release has it, with that many questions."""
    subprocess.run([*_FLASK, "questions", "db", "upgrade"], check=True, env=environment)
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as production:
        production.execute(_ROWS, [rows])
        production.execute("VACUUM ANALYZE questions")


def rehearse(environment: Mapping[str, str], *options: str) -> int:
    """Rehearse the migrations of tomorrow's release, and give the command's status."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(shipped("migrations"), folder, dirs_exist_ok=True)
        shutil.copytree(_HERE / "versions", Path(folder, "versions"), dirs_exist_ok=True)
        command = [*_FLASK, f"{_HERE / 'tomorrow.py'}:create_app", "branches", "rehearse", *options]
        led = {**environment, "STORY_MIGRATIONS": folder}
        return subprocess.run(command, check=False, env=led).returncode


if __name__ == "__main__":
    led = {**os.environ, "QUESTIONS_CONFIG": "neon"}
    fill(int(sys.argv[1]), led)
    raise SystemExit(rehearse(led, *sys.argv[2:]))
