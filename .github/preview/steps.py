"""What the workflow pull-request.yml does with a pull request's branch of Neon: one word for each of its steps."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

LIFETIME = "14d"
"""How long a branch outlives the last push, should nobody close its pull request."""


def main() -> None:
    """Take the step that the command line names."""
    words = {"where": where, "open": open_, "suite": suite, "diff": diff, "rehearse": rehearse, "close": close}
    if sys.argv[1:2] == [] or sys.argv[1] not in words:
        raise SystemExit(f"Name a step: {', '.join(words)}.")
    words[sys.argv[1]]()


def where() -> None:
    """Choose Neon or the emulator; that it is the emulator, and why, is there for everybody to see."""
    missing = _missing()
    _append("GITHUB_OUTPUT", f"database={'emulator' if missing else 'neon'}")
    if missing:
        print(f"::notice title=Tested on the emulator::{missing}")
        _append("GITHUB_STEP_SUMMARY", f"Tested on Neon's emulator, not on a branch of Neon: {missing}")
    else:
        _append("GITHUB_STEP_SUMMARY", f"Tested on `{_branch()}`, a branch of Neon.")


def open_() -> None:
    """Make the branch at the first push; at a later one, give it the present data of its parent."""
    if _is_there():
        _branches("reset", _branch(), "--force")
        _branches("set-expiration", _branch(), "--expires-in", LIFETIME)
    else:
        _branches("create", _branch(), "--expires-in", LIFETIME)


def suite() -> None:
    """Run the tests on the branch, which they migrate; no log shows the password of its URL."""
    url = _answer("url", _branch()).strip()
    password = urlsplit(url).password or ""
    for hidden in filter(None, dict.fromkeys([url, password, unquote(password)])):
        print(f"::add-mask::{_escaped(hidden)}", flush=True)
    _run(["tox", "-e", "neon"], BRANCHES_URL=url)


def diff() -> None:
    """Write what the branch's schema has that its parent's has not to the file that the command line names."""
    text = _answer("diff", _branch())
    Path(sys.argv[2]).write_text(text, "utf-8")
    token = secrets.token_hex(16)
    print(f"::stop-commands::{token}\n{text}\n::{token}::")  # a schema may have words that GitHub takes for commands


def rehearse() -> None:
    """Write what the pending migrations would do to production, for the comment; not safe, the step fails.

    Nothing is written where nothing is pending, and models and schema agree.
    """
    comment = Path(sys.argv[2])
    report = comment.with_suffix(".json")
    command = _command("rehearse", "--report", str(comment), "--report", str(report))
    token = secrets.token_hex(16)
    print(f"$ {' '.join(command)}\n::stop-commands::{token}", flush=True)  # a migration may have such words too
    status = subprocess.run(command, check=False).returncode
    print(f"::{token}::")
    if not report.exists():
        comment.write_text("**The migrations could not be rehearsed**: the run says why.\n", "utf-8")
    elif not status and not json.loads(report.read_text("utf-8"))["revisions"]:
        comment.write_text("", "utf-8")
    _append("GITHUB_STEP_SUMMARY", comment.read_text("utf-8"))
    raise SystemExit(status)


def close() -> None:
    """Delete the branch; that it is gone already, or that there is no Neon, is no failure."""
    if not os.environ.get("NEON_API_KEY") or not os.environ.get("NEON_PROJECT_ID"):
        print("Without NEON_API_KEY and NEON_PROJECT_ID there was no branch.")
    elif _is_there():
        _branches("delete", _branch())
    else:
        print(f"{_branch()} is gone already.")


def _missing() -> str:
    if os.environ.get("FROM_FORK") != "false":
        return "the pull request is from a fork, which is given no secrets."
    names = [name for name in ("NEON_API_KEY", "NEON_PROJECT_ID") if os.environ.get(f"HAS_{name}") != "true"]
    are = "are" if len(names) > 1 else "is"
    return f"{' and '.join(names)} {are} not set, or not for this pull request." if names else ""


def _branch() -> str:
    number = os.environ.get("PULL_REQUEST", "")
    if not number.isdecimal():
        raise SystemExit(f"PULL_REQUEST is {number!r}: set it to the pull request's number.")
    return f"preview/pr-{number}"


def _is_there() -> bool:
    return any(each["name"] == _branch() for each in json.loads(_answer("list", "--json")))


def _branches(*arguments: str) -> None:
    _run(_command(*arguments))


def _answer(*arguments: str) -> str:
    ended = subprocess.run(_command(*arguments), stdout=subprocess.PIPE, encoding="utf-8", check=False)
    if ended.returncode:
        raise SystemExit(ended.returncode)  # the command has said why
    return ended.stdout


def _command(*arguments: str) -> list[str]:
    return ["flask", "--app", "questions", "branches", *arguments]


def _run(command: list[str], **variables: str) -> None:
    print(f"$ {' '.join(command)}", flush=True)
    if status := subprocess.run(command, env={**os.environ, **variables}, check=False).returncode:
        raise SystemExit(status)


def _append(variable: str, line: str) -> None:
    with Path(os.environ[variable]).open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def _escaped(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


if __name__ == "__main__":
    main()
