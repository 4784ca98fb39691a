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

import psycopg

from questions.shipped import shipped

_HERE = Path(__file__).resolve().parent
_ROWS = """
INSERT INTO questions (title, description, search)
SELECT 'Question ' || n, 'How often has it been asked?', 'question ' || n || E'\nA\nhow often has it been asked?'
FROM generate_series(1, %s) AS n
"""


def main(rows: int, *options: str) -> int:
    """Fill production as today's release has it, and rehearse tomorrow's."""
    environment = os.environ | {"QUESTIONS_CONFIG": "neon"}
    command = [sys.executable, "-m", "flask", "--app"]
    subprocess.run([*command, "questions", "db", "upgrade"], check=True, env=environment)
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as production:
        production.execute(_ROWS, [rows])
        production.execute("VACUUM ANALYZE questions")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(shipped("migrations"), folder, dirs_exist_ok=True)
        shutil.copytree(_HERE / "versions", Path(folder, "versions"), dirs_exist_ok=True)
        environment["STORY_MIGRATIONS"] = folder
        command += [f"{_HERE / 'tomorrow.py'}:create_app", "branches", "rehearse", *options]
        return subprocess.run(command, check=False, env=environment).returncode


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), *sys.argv[2:]))
