"""The comment that shows what a pull request changes of the schema, on a server that stands in for GitHub's API."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.neon.workflow.steps import Runner, line

from flask_branches.rehearsal.shown.markdown import ROOM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

COMMENT = line("comment.py")
MARKER = "<!-- flask_branches: the schema's changes -->"
REHEARSED = "<!-- flask_branches: the migrations, rehearsed -->"
DIFF = "--- main\n+++ preview/pr-12\n@@ -1 +1,2 @@\n table questions\n+  column version integer\n"
LONGEST = 65_536
PAGE = 100
TOKEN = "a-token-of-github-s"
VARIABLES = {
    "GITHUB_REPOSITORY": "o/r",
    "GITHUB_RUN_ID": "34",
    "GITHUB_SERVER_URL": "https://github.example",
    "GITHUB_TOKEN": TOKEN,
    "HEAD_SHA": "0123456789abcdef",
}

Answer = tuple[int, Any, str | None]


@dataclass
class GitHub:
    """The comments of pull request 12, and what was asked about them."""

    comments: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    refuses: int | None = None

    def say(self, body: str, kind: str = "User") -> dict[str, Any]:
        """Let somebody comment."""
        number = max((each["id"] for each in self.comments), default=0) + 1
        url = f"https://github.example/pull/12#{number}"
        self.comments.append({"id": number, "body": body, "user": {"type": kind}, "html_url": url})
        return self.comments[-1]

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Answer:
        """The status, the body and the Link header of an answer."""
        if self.refuses:
            return self.refuses, {"message": "Resource not accessible by integration"}, None
        if body is not None and not 0 < len(body["body"]) <= LONGEST:
            return 422, {"message": "Body is too long (maximum is 65536 characters)"}, None
        if path == "/api/v3/repos/o/r/issues/12/comments":
            return self._listed(query) if method == "GET" else (201, self.say(body["body"], "Bot"), None)
        for each in self.comments:
            if path == f"/api/v3/repos/o/r/issues/comments/{each['id']}":
                return self._changed(each, method, body)
        return 404, {"message": "Not Found"}, None

    def _listed(self, query: dict[str, list[str]]) -> Answer:
        first, size = int(query["page"][0]) * PAGE - PAGE, int(query["per_page"][0])
        more = '<https://elsewhere.example/>; rel="next"' if len(self.comments) > first + size else None
        return 200, self.comments[first : first + size], more

    def _changed(self, comment: dict[str, Any], method: str, body: Any) -> Answer:
        if method == "DELETE":
            self.comments.remove(comment)
            return 204, None, None
        comment["body"] = body["body"]
        return 200, comment, None


@pytest.fixture
def github() -> GitHub:
    """GitHub, where nobody has commented yet."""
    return GitHub()


@pytest.fixture
def show(github: GitHub, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Run the workflow's line with a diff, against the server."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            parts = urlsplit(self.path)
            github.asked.append(self.command)
            assert self.headers["Authorization"] == f"Bearer {TOKEN}"
            status, content, more = github.answer(self.command, parts.path, parse_qs(parts.query), body)
            sent = b"" if content is None else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(sent)))
            if more:
                self.send_header("Link", more)
            self.end_headers()
            self.wfile.write(sent)

        do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815  the base class looks for these names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class has the name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    variables = {**VARIABLES, "GITHUB_API_URL": f"http://127.0.0.1:{server.server_port}/api/v3"}

    def show(diff: str | None, status: int = 0, rehearsal: str | None = "") -> str:
        for name, text in (("schema.diff", diff), ("rehearsal.md", rehearsal)):
            (tmp_path / name).unlink(missing_ok=True)
            if text is not None:
                (tmp_path / name).write_text(text, "utf-8")
        return Runner(tmp_path, variables).run(COMMENT, status)

    yield show
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_first_change_of_the_schema_is_commented_on(github: GitHub, show: Callable[..., str]) -> None:
    """With the commit that it is of; the log says where the comment is."""
    assert show(DIFF) == "https://github.example/pull/12#1\n"

    (comment,) = github.comments
    assert comment["body"] == f"{MARKER}\n**The schema's changes**, as of 0123456:\n\n```diff\n{DIFF}```\n"


def test_the_comment_is_brought_up_to_date(github: GitHub, show: Callable[..., str]) -> None:
    """It stays the only one, at its place, also where two runs had made one each."""
    show(DIFF)
    github.say("Nice.")
    github.say(f"{MARKER} of another run", "Bot")

    show(DIFF.replace("version", "stars"))

    assert [each["id"] for each in github.comments] == [1, 2]
    assert "stars" in github.comments[0]["body"]
    assert "version" not in github.comments[0]["body"]


def test_without_a_change_no_comment_is_left(github: GitHub, show: Callable[..., str]) -> None:
    """Neither is one written to say so."""
    assert show("") == ""
    assert github.asked == ["GET"]
    show(DIFF)
    github.say("Nice.")

    show("")

    assert [each["body"] for each in github.comments] == ["Nice."]


def test_what_people_write_is_left_alone(github: GitHub, show: Callable[..., str]) -> None:
    """Also where it begins as ours does, or a bot quotes ours, or its writer is gone."""
    github.say(f"{MARKER} is what it begins with.")
    github.say(f"> {MARKER}", "Bot")
    github.say(MARKER)["user"] = None
    before = [dict(each) for each in github.comments]

    show(DIFF)
    assert github.comments[:-1] == before
    show("")
    assert github.comments == before


def test_the_comment_is_found_among_hundreds(github: GitHub, show: Callable[..., str]) -> None:
    """Page by page, from GitHub itself: nothing is asked of whatever address an answer names."""
    for number in range(2 * PAGE):
        github.say(f"{number}")
    mine = github.say(MARKER, "Bot")

    show(DIFF)

    assert github.asked == ["GET", "GET", "GET", "PATCH"]
    assert len(github.comments) == 2 * PAGE + 1
    assert "version" in mine["body"]


@pytest.mark.parametrize("character", ["x", "é", "🐘"])
def test_a_diff_that_is_too_long_is_cut_between_lines(github: GitHub, show: Callable[..., str], character: str) -> None:
    """The comment is as long as GitHub takes it, says so, and leads to the run, whose log has all."""
    line_of_it = f"+  column {character * 80}\n"
    show(DIFF + line_of_it * 1000)

    (comment,) = github.comments
    shown, rest = re.fullmatch(r".*?```diff\n(.*?\n)```\n\n(.*)\n", comment["body"], re.DOTALL).groups()  # type: ignore[union-attr]
    assert LONGEST - len(line_of_it) < len(comment["body"]) <= LONGEST
    assert shown.startswith(DIFF)
    assert set(shown.removeprefix(DIFF).splitlines(keepends=True)) == {line_of_it}
    assert "[the run](https://github.example/o/r/actions/runs/34)" in rest


def test_what_just_fits_is_whole(github: GitHub, show: Callable[..., str]) -> None:
    """To the last character; with one more it is cut, and so is a line that is too long by itself."""
    show("x\n")
    room = LONGEST - len(github.comments[0]["body"]) + 1

    for size, length in ((room, LONGEST), (room + 1, LONGEST)):
        show("x" * size + "\n")
        (comment,) = github.comments
        assert len(comment["body"]) == length
        assert ("too long" in comment["body"]) == (size > room)


@pytest.mark.parametrize("ticks", ["```", "````diff", "`" * 30])
def test_a_diff_with_a_fence_in_it_stays_inside_its_own(github: GitHub, show: Callable[..., str], ticks: str) -> None:
    """The comment's fence is longer than whatever the diff has."""
    show(f"{DIFF} {ticks}\n @everyone\n")

    (body,) = (each["body"] for each in github.comments)
    fence = re.search(r"^(`+)diff$", body, re.MULTILINE)[1]  # type: ignore[index]
    assert len(fence) > ticks.count("`")
    assert body.endswith(f" {ticks}\n @everyone\n{fence}\n")
    assert body.count(fence) == 2


def test_a_rehearsal_has_a_comment_of_its_own(github: GitHub, show: Callable[..., str]) -> None:
    """Beside the schema's, each brought up to date in its place, and gone when there is nothing to say."""
    show(DIFF, rehearsal="# Not safe to deploy\n")
    run = "[this run](https://github.example/o/r/actions/runs/34)"
    assert [each["body"].partition("\n")[0] for each in github.comments] == [MARKER, REHEARSED]
    assert github.comments[1]["body"] == f"{REHEARSED}\n# Not safe to deploy\n\nAs of 0123456, by {run}.\n"

    show(DIFF, rehearsal="# Safe to deploy\n")
    assert [each["id"] for each in github.comments] == [1, 2]
    assert "# Safe to deploy" in github.comments[1]["body"]

    show(DIFF)
    assert [each["body"].partition("\n")[0] for each in github.comments] == [MARKER]


def test_a_rehearsal_that_was_ended_is_told(github: GitHub, show: Callable[..., str]) -> None:
    """In the place of what an older one has said, which is true no more."""
    show("", rehearsal="# Safe to deploy\n")

    show("", rehearsal=None)

    (comment,) = github.comments
    assert comment["body"].startswith(f"{REHEARSED}\n**The migrations could not be rehearsed**: the run says why.\n")


def test_a_diff_that_was_not_made_changes_nothing(github: GitHub, show: Callable[..., str]) -> None:
    """Nobody knows whether there is a difference; the rehearsal's comment comes all the same."""
    show(DIFF)

    said = show(None, rehearsal="# Safe to deploy\n")

    assert said.startswith("schema.diff was not written: its comment stays as it is.\n")
    assert [each["body"].partition("\n")[0] for each in github.comments] == [MARKER, REHEARSED]
    assert DIFF in github.comments[0]["body"]


def test_a_rehearsal_fits_into_its_comment(github: GitHub, show: Callable[..., str]) -> None:
    """However much there is to tell: the report is cut where it is made."""
    show("", rehearsal="x" * ROOM)

    assert len(github.comments[0]["body"]) <= LONGEST


def test_what_github_refuses_is_told_in_one_line(github: GitHub, show: Callable[..., str]) -> None:
    """With what was asked, and without the token."""
    github.refuses = 403

    said = show(DIFF, status=1)

    assert said.startswith("GET repos/o/r/issues/12/comments: GitHub answers 403, {")
    assert "Resource not accessible by integration" in said
    assert (said.count("\n"), TOKEN in said) == (1, False)
