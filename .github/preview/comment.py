"""What a pull request changes of the schema, and what its migrations would do: comments on it, kept up to date."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any, Self

import httpx2

MARKERS = {
    ".diff": "<!-- flask_branches: the schema's changes -->",
    ".md": "<!-- flask_branches: the migrations, rehearsed -->",
}
NOT_REHEARSED = "**The migrations could not be rehearsed**: the run says why.\n"
LONGEST = 65_536
"""How many characters GitHub takes for a comment."""


def main() -> None:
    """Show the files that the command line names, a diff or a rehearsal; an empty one leaves no comment behind.

    One that is missing was to be written by a step that was ended on its way.
    """
    with GitHub(os.environ["GITHUB_REPOSITORY"], os.environ["PULL_REQUEST"]) as pull_request:
        there = pull_request.comments()
        for path in map(Path, sys.argv[1:]):
            marker = MARKERS[path.suffix]
            if path.exists():
                _show(pull_request, there, marker, path.read_text("utf-8"))
            elif path.suffix == ".md":
                _show(pull_request, there, marker, NOT_REHEARSED)
            else:
                print(f"{path.name} was not written: its comment stays as it is.")


def _show(pull_request: GitHub, there: list[tuple[str, str]], marker: str, text: str) -> None:
    mine = [path for path, written in there if written.startswith(marker)]
    if text:
        make = body if marker == MARKERS[".diff"] else rehearsal
        pull_request.show(make(text, os.environ["HEAD_SHA"], _run_url()), mine[:1])
    for comment in mine[1:] if text else mine:
        pull_request.delete(comment)


def rehearsal(report: str, commit: str, run_url: str) -> str:
    """The comment's text, which the report's own is; it was cut to a comment's length where that was made."""
    return f"{MARKERS['.md']}\n{report.rstrip()}\n\nAs of {commit[:7]}, by [this run]({run_url}).\n"


def body(diff: str, commit: str, run_url: str) -> str:
    """The comment's text; of a diff that is too long, the lines that there is room for."""
    ticks = max((len(run) for run in re.findall("`+", diff)), default=0)
    fence = "`" * max(ticks + 1, 3)
    head = f"{MARKERS['.diff']}\n**The schema's changes**, as of {commit[:7]}:\n\n{fence}diff\n"
    end = f"\n{fence}\n"
    more = f"{end}\nThe rest is too long for a comment: [the run]({run_url}) shows all of it.\n"
    text = diff.rstrip("\n")
    if len(head + text + end) <= LONGEST:
        return head + text + end
    room = text[: LONGEST - len(head + more) + 1]
    return head + (room.rpartition("\n")[0] or room[:-1]) + more


class GitHub:
    """The comments of one pull request that this workflow has written."""

    def __init__(self, repository: str, number: str) -> None:
        self._repository = f"repos/{repository}"
        self._comments = f"{self._repository}/issues/{int(number)}/comments"
        self._http = httpx2.Client(
            base_url=os.environ["GITHUB_API_URL"],
            headers={
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}",
                "X-GitHub-Api-Version": "2022-11-28",
            },
            timeout=30,
        )

    def __enter__(self) -> Self:
        """For the time of a block."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the connections."""
        self._http.close()

    def comments(self) -> list[tuple[str, str]]:
        """The paths and texts of those comments, the oldest first; a person's that quotes one is none of them."""
        found: list[dict[str, Any]] = []
        page, more = 0, True
        while more:
            page += 1
            answer = self._ask("GET", self._comments, params={"per_page": 100, "page": page})
            found += [each for each in answer.json() if _is_mine(each)]
            more = "next" in answer.links
        return [(f"{self._repository}/issues/comments/{each['id']}", each["body"]) for each in found]

    def show(self, text: str, instead_of: list[str]) -> None:
        """Write the comment, in the place of the one that there is."""
        method, path = ("PATCH", instead_of[0]) if instead_of else ("POST", self._comments)
        print(self._ask(method, path, json={"body": text}).json()["html_url"])

    def delete(self, path: str) -> None:
        """Delete a comment."""
        self._ask("DELETE", path)

    def _ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        try:
            answer = self._http.request(method, path, **options)
        except httpx2.HTTPError as error:
            raise SystemExit(f"{method} {path}: GitHub is out of reach, {error}.") from None
        if not answer.is_success:
            raise SystemExit(f"{method} {path}: GitHub answers {answer.status_code}, {answer.text}")
        return answer


def _is_mine(comment: dict[str, Any]) -> bool:
    by_a_bot = (comment["user"] or {}).get("type") == "Bot"
    return by_a_bot and (comment["body"] or "").startswith(tuple(MARKERS.values()))


def _run_url() -> str:
    server, repository, run = (os.environ[f"GITHUB_{name}"] for name in ("SERVER_URL", "REPOSITORY", "RUN_ID"))
    return f"{server}/{repository}/actions/runs/{run}"


if __name__ == "__main__":
    main()
