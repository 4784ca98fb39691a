"""The page: well-formed, of one file, safe against every text, and without empty parts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from tests.rehearsal.shown.reports import HOSTILE, REPORTS, dangerous, failed, huge, safe

from flask_branches.rehearsal.shown.html import html
from flask_branches.rehearsal.shown.page import LINES
from flask_branches.rehearsal.shown.words import clean, clipped, one_line

VOID = {"meta"}
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "article", "figure", "figcaption"),
    *("h1", "h2", "h3", "h4", "p", "ul", "ol", "li", "dl", "dt", "dd", "div", "span", "b", "strong", "small", "a"),
    *("code", "pre", "table", "caption", "thead", "tbody", "tr", "th", "td", "details", "summary", "time"),
}
PAGES = {name: html(report) for name, report in REPORTS.items()}
SECTIONS = ["failed", "timeline", "advice", "revisions", "drift", "old-code", "warnings", "not-shown", "facts"]


@dataclass
class _Element:
    tag: str
    attributes: dict[str, str]
    began: int
    ended: int = -1


@dataclass
class _Page(HTMLParser):
    """Every element with its text; fails where an end does not belong to the last start."""

    elements: list[_Element] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[_Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _value in attrs}) == len(attrs)
        self.elements.append(_Element(tag, {name: value or "" for name, value in attrs}, len(self.pieces)))
        if tag not in VOID:
            self._open.append(self.elements[-1])

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].tag == tag
        self._open.pop().ended = len(self.pieces)

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    def text(self, element: _Element | None = None) -> str:
        began, ended = (element.began, element.ended) if element else (0, len(self.pieces))
        return "".join(self.pieces[began:ended])

    def all(self, *tags: str) -> list[_Element]:
        return [each for each in self.elements if each.tag in tags]

    def close(self) -> None:
        super().close()
        assert not self._open


@cache
def _read(text: str) -> _Page:
    page = _Page()
    page.feed(text)
    page.close()
    return page


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest) -> _Page:
    return _read(PAGES[request.param])


def test_only_our_own_elements_are_there(page: _Page) -> None:
    """Whatever a name says, it makes no element, and none of them runs or embeds anything."""
    assert {each.tag for each in page.elements} <= TAGS
    for each in page.elements:
        assert not [name for name in each.attributes if name.startswith("on") or name in {"src", "srcset", "action"}]


def test_nothing_is_loaded(page: _Page) -> None:
    """One file; links lead to the documentation or to the page itself, and a browser is told to load nothing else."""
    style = page.text(page.all("style")[0])
    assert "url(" not in style
    assert "@import" not in style
    policy = next(each for each in page.all("meta") if "http-equiv" in each.attributes)
    assert policy.attributes["content"].startswith("default-src 'none'; style-src 'unsafe-inline';")
    for each in page.all("a"):
        assert re.match(r"#r\d+$|https://[a-z.]+/", each.attributes["href"])


def test_an_inner_link_leads_somewhere(page: _Page) -> None:
    """Every id is unique, and every link and label has the one that it names."""
    ids = [each.attributes["id"] for each in page.elements if "id" in each.attributes]
    assert len(ids) == len(set(ids))
    named = [each.attributes["href"][1:] for each in page.all("a") if each.attributes["href"].startswith("#")]
    named += [each.attributes["aria-labelledby"] for each in page.elements if "aria-labelledby" in each.attributes]
    assert set(named) <= set(ids)


def test_a_screen_reader_finds_its_way(page: _Page) -> None:
    """Headings leave out no level, tables have captions and heads, and the drawing is told as a table instead."""
    levels = [int(each.tag[1]) for each in page.all("h1", "h2", "h3", "h4")]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise([0, *levels]))
    assert len(page.all("table")) == len(page.all("caption"))
    assert all(each.attributes["scope"] in {"row", "col"} for each in page.all("th"))
    drawn = [each for each in page.elements if each.attributes.get("class") == "chart"]
    assert all(each.attributes["aria-hidden"] == "true" for each in drawn)
    assert page.all("html")[0].attributes["lang"] == "en"


@pytest.mark.parametrize("name", REPORTS)
def test_the_verdict_is_at_the_head(name: str) -> None:
    """With the reasons, before anything else."""
    report = REPORTS[name]
    found = _read(PAGES[name])
    head = found.all("header")[0]
    assert head.attributes["class"] == f"verdict {report.verdict}"
    assert next(each for each in found.elements if each.tag in {"header", "section", "dl"}) is head
    for each in report.reasons:
        assert clean(each) in found.text(head)


@pytest.mark.parametrize("name", [name for name in REPORTS if name != "huge"])
def test_every_revision_table_and_statement_is_there(name: str) -> None:
    """Nothing that was seen is left out, but for the fastest of very many statements."""
    found = _read(PAGES[name])
    codes = [found.text(each) for each in found.all("code")]
    articles = [found.text(each) for each in found.all("article")]
    assert len(articles) == len(REPORTS[name].revisions)
    for revision, article in zip(REPORTS[name].revisions, articles, strict=True):
        assert clean(revision.id) in article
        assert one_line(revision.title).rstrip(".") in " ".join(article.split())
        for lock in revision.locks:
            assert clean(lock.object) in article
            assert lock.mode in article
        for statement in revision.statements if len(revision.statements) < 500 else ():
            assert clean(statement.text) in codes
    for blocking in REPORTS[name].blocking:
        assert clean(blocking.table) in codes


def test_of_very_many_the_rest_is_counted() -> None:
    """Seven hundred statements, 900 lines of a diff and twenty-five tables are cut, and that is said."""
    found = _read(PAGES["crowded"])
    assert "And 200 statements more, each shorter." in found.text()
    assert "Not drawn: public.table_13, public.table_14," in found.text()
    long = _read(html(huge()))
    assert f"And {900 - LINES} lines more." in long.text()
    assert clipped(huge().revisions[0].statements[0].text, 6_000) in [long.text(each) for each in long.all("code")]


@pytest.mark.parametrize(
    ("name", "sections"),
    [
        ("safe", ["timeline", "revisions", "drift", "not-shown", "facts"]),
        ("sqlite", ["timeline", "revisions", "drift", "not-shown", "facts"]),
        ("never_begun", ["failed", "facts"]),
        ("failed", ["failed", "timeline", "revisions", "not-shown", "facts"]),
        ("dangerous", [each for each in SECTIONS if each != "failed"]),
        ("hostile", SECTIONS),
    ],
)
def test_an_empty_section_is_left_out(name: str, sections: list[str]) -> None:
    """What was not looked for, or not found, has no heading."""
    found = [each.attributes.get("id") for each in _read(PAGES[name]).all("h2")]
    assert found == sections


@pytest.mark.parametrize(
    "text",
    [
        "12 s public.note; the limit is 1.0 s",
        "457 MB public.note; the limit is 100 MB",
        "Rows lost 30,200",
        "Can be undone 1 of 3 revisions, without a loss",
        "A revision with a dashed frame is drawn wider than it is.",
        "public.note 12 s over the limit 16 s over the limit 1, 2",
        "public.tag none 395 ms 2",
        "3,000x UPDATE note SET stars = %(stars)s",
        "danger revision 2 ALTER COLUMN price TYPE rewrote public.note while nobody could read it. Add a column",
        "3c4d5e6f7081 after 2b3c4d5e6f70; ran for 16 s; 498 MB of write-ahead log, with what others wrote meanwhile",
        "Somebody who reads public.note really waited 12 s; the locks say 12 s.",
        "No row of public.note had to be read to check price NOT NULL.",
        "6.9 s, 3,000 times, the longest 41 ms, 1,000,000 rows, transaction 3",
        "12 s, transaction 2 rewrites public.note",
        "public.ix_note_slug index of public.note SHARE writes 3.9 s",
        "public.price_new new: nobody waits for it ACCESS EXCLUSIVE reads and writes 16 s",
        "public.note ROW EXCLUSIVE schema changes 160 ms longest 2 ms",
        "public.note_pkey index of public.note copied 21 MB 21 MB",
        "public.ix_note_slug index new 38 MB",
        "public.draft 1,200 gone public.log estimated 90,000 61,000",
        "-price numeric(10,2) NOT NULL DEFAULT 0 +price numeric(10,2) NOT NULL",
        "Lost: public.note.price: 1,000,000 values",
        "Only in the models: public.note.stars is NOT NULL",
        "status 1, after 48 s. pytest -q tests The end of what they said E UndefinedColumn: price_text",
        "Warnings The revision 4d5e6f708192 has no downgrade.",
        (
            "no table larger than 100 MB may be rewritten. Database PostgreSQL 18.6 Parent main, not touched Branch"
            " rehearsal-3f9a, gone Began 2026-10-05 09:30:00 UTC From 1a2b3c4d5e6f To 4d5e6f708192 Exit status 1"
        ),
    ],
)
def test_whatever_matters_is_told(text: str) -> None:
    """In the order in which a reader's eye meets it."""
    words = re.sub(r"(?<=[a-z])\s+(?=[,;])", "", re.sub(r"<[^>]+>", " ", re.sub(r"\s+", " ", PAGES["dangerous"])))
    assert re.sub(r"\s", "", text) in re.sub(r"\s", "", words.replace("&#39;", "'"))


def test_the_lines_of_a_diff_say_which_side_they_are_of() -> None:
    """The head of a diff is no line that was taken away."""
    found = _read(html(dangerous()))
    spans = [(each.attributes.get("class"), found.text(each)) for each in found.all("span")]
    assert ("where", "--- before") in spans
    assert ("minus", "-price numeric(10,2) NOT NULL DEFAULT 0") in spans
    assert ("plus", "+price numeric(10,2) NOT NULL") in spans


def test_a_revision_that_somebody_notices_is_open() -> None:
    """The others wait to be asked."""
    assert ["open" in each.attributes for each in _read(html(dangerous())).all("details")] == [False, True, True, True]


def test_a_text_of_others_is_text() -> None:
    """It stands on the page as it is, and nowhere as anything else."""
    text = PAGES["hostile"]
    assert "<script" not in text
    assert clean(HOSTILE) in _read(text).text()
    assert not set("\x1b\u202e\x00\ud800") & set(text)
    assert 'href="javascript' not in text


def test_a_failure_leads_to_its_revision() -> None:
    """The error, the statement, what was committed before, and what has become of the branch."""
    found = _read(html(failed()))
    told = next(each for each in found.all("section") if each.attributes.get("class") == "card failure")
    assert " ".join(found.text(told).split()) == (
        'What failed UniqueViolation: could not create unique index "ix_note_slug" In the revision 3c4d5e6f7081,'
        " at this statement: CREATE UNIQUE INDEX ix_note_slug ON note (slug) Committed before: 2b3c4d5e6f70."
        " The branch rehearsal-3f9a is kept; main was not touched."
    )
    assert found.all("a")[0].attributes["href"] == "#r2"


def test_sqlite_has_no_figures_of_locks() -> None:
    """What is not looked for is not shown as nothing."""
    text = _read(PAGES["sqlite"]).text()
    assert "wait for" not in text.replace("may wait for", "")
    assert "Rewritten" not in text
    assert "Readers wait for" in _read(html(safe())).text()
