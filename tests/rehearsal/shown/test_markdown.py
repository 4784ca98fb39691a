"""The report for a pull request, read as GitHub reads it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from markdown_it import MarkdownIt
from tests.rehearsal.shown.reports import HOSTILE, REPORTS, dangerous, failed, huge, safe

from flask_branches.rehearsal.shown.markdown import ROOM, markdown
from flask_branches.rehearsal.shown.marked import code, fenced, prose, web
from flask_branches.rehearsal.shown.words import clean

READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def _pieces(text: str) -> list[tuple[str, str]]:
    found = []
    for block in READER.parse(text):
        found.append((block.type, block.content or str(block.attrGet("href") or "")))
        found += [(each.type, each.content or str(each.attrGet("href") or "")) for each in block.children or ()]
    return found


@pytest.mark.parametrize("name", REPORTS)
def test_a_comment_is_never_too_long(name: str) -> None:
    """GitHub refuses what has more than 65,536 characters, and whoever posts it adds some."""
    assert len(markdown(REPORTS[name])) <= ROOM <= 65_000


def test_what_is_cut_is_said() -> None:
    """The verdict and the table stay; the details go first, and the reader is told how much is missing."""
    text = markdown(huge())
    assert text.startswith("### ⛔ Not safe to deploy\n\n80 revisions of shop, ")
    assert "…and 60 more." in text
    assert "…and 20 revisions more." in text
    assert text.endswith(
        " parts of this report had no room in a comment: the HTML and the JSON form have all of it._\n"
    )
    assert "no room" not in markdown(dangerous())


def test_as_much_is_shown_as_there_is_room_for() -> None:
    """With a little less room than all of it takes, one part is missing; with just enough, none."""
    whole = markdown(dangerous())
    assert markdown(dangerous(), len(whole)) == whole
    less = markdown(dangerous(), len(whole) - 1)
    assert less.endswith(
        "_1 part of this report had no room in a comment: the HTML and the JSON form have all of it._\n"
    )
    assert len(less) < len(whole)


def test_a_table_has_the_revisions() -> None:
    """Who waits, what is rewritten, what is lost, and whether it can be undone, at a glance."""
    rows = [line for line in markdown(dangerous()).split("\n") if line.startswith("| ")]
    assert rows[:5] == [
        "|  | Revision | Took | Readers wait | Writers wait | Rewritten | Rows lost | Undo |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| 1 | `2b3c4d5e6f70` stars of a note | 9 ms | 6 ms | 6 ms |  |  | yes |",
        (
            "| 2 | `3c4d5e6f7081` notes have a price, and their tags are unique | 16 s | 12 s | 16 s | 433 MB |  |"
            " differs, loses data |"
        ),
        "| 3 | `4d5e6f708192` stars filled in batches | 7.2 s |  |  |  | 30,200 | none |",
    ]


@pytest.mark.parametrize(
    "part",
    [
        "- public.log loses 29,000 rows.",
        "- ⛔ Rewrites public.note and 1 index of it, 436 MB, over the limit of 100 MB.",
        "- ⚠️ Has no downgrade.",
        (
            "waiting for 3.5 s.** Create it CONCURRENTLY, in a revision with an autocommit block."
            " [source](<https://www.postgresql.org/docs/current/sql-createindex.html>)"
        ),
        "⛔ **The models and the migrated schema differ in 2 places.**",
        "- Only in the database: the index public.ix\\_note\\_slug",
        "⛔ **The previous release's tests fail on the migrated branch: status 1, after 48 s.**",
        "```\nE   UndefinedColumn: price_text\n1 failed, 212 passed\n```",
        "<details><summary>3. 4d5e6f708192: stars filled in batches</summary>",
        "**6.9 s**, 3,000 times, the longest 41 ms, 1,000,000 rows:\n\n```sql\nUPDATE note SET stars",
        "| `public.note` | ROW EXCLUSIVE | schema changes | 2 ms at most, 160 ms in all |",
        "```diff\n--- before\n+++ after the round trip\n",
        "- 498 MB of write-ahead log, with what others wrote meanwhile.",
        "What this cannot show:\n\n- How long the migration itself waits",
    ],
)
def test_whatever_matters_is_there(part: str) -> None:
    """The dangers in sight, the details folded."""
    assert part in markdown(dangerous())


def test_what_was_not_found_has_no_part() -> None:
    """A safe revision's comment has no dangers, no advice, no warnings."""
    text = markdown(safe())
    assert text.startswith("### ✅ Safe to deploy\n")
    assert "✅ The models and the migrated schema agree." in text
    for word in ("⛔", "⚠️", "What would avoid it", "Warnings", "What failed", "previous release"):
        assert word not in text


def test_a_failure_is_told() -> None:
    """The statement and the error are fenced, and what was committed is named."""
    text = markdown(failed())
    assert '**What failed** in `3c4d5e6f7081`\n\n```\nUniqueViolation: could not create unique index "ix' in text
    assert "```sql\nCREATE UNIQUE INDEX ix_note_slug ON note (slug)\n```" in text
    assert "Committed before: `2b3c4d5e6f70`." in text


@pytest.mark.parametrize("name", REPORTS)
def test_no_text_of_others_is_markup(name: str) -> None:
    """Whatever a name or a statement says, the only HTML are our own folds, and the only links our sources."""
    for kind, text in _pieces(markdown(REPORTS[name])):
        assert kind not in {"html_inline", "image", "s_open", "hr"}
        if kind == "html_block":
            assert text.strip() == "</details>" or text.startswith("<details><summary>")
            assert text.count("<") in {1, 3}
        if kind == "link_open":
            assert text.startswith("https://")


def test_every_text_of_others_can_be_read() -> None:
    """It is not changed where it is quoted: in code as in prose."""
    texts = [text for kind, text in _pieces(markdown(REPORTS["hostile"])) if kind in {"code_inline", "fence", "text"}]
    assert f"{clean(HOSTILE)}\n```\n</pre></details>\n" in texts
    assert clean(HOSTILE) in texts
    assert "@\u2060all" in "".join(texts)


def test_a_table_keeps_its_columns() -> None:
    """A bar in a name ends no cell."""
    rows, cells = 0, 0
    for kind, _text in _pieces(markdown(replace(REPORTS["hostile"], failure=None))):
        rows += kind == "tr_open"
        cells += kind in {"td_open", "th_open"}
    assert (rows, cells) == (4, 2 * 8 + 2 * 4)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("- a", "\u2060- a"),
        ("1. a", "\u20601. a"),
        ("> a", "&gt; a"),
        ("a\n\n# b", "a \\# b"),
        ("@me #1 a@b", "@\u2060me \\#\u20601 a@\u2060b"),
        ("https://evil.example www.evil.example", "https:\u2060//evil.example www\u2060.evil.example"),
        ("&lt; <b>", "&amp;lt; &lt;b&gt;"),
        ("[a](b) ![c](d) *e* _f_ ~~g~~ `h` $i$", r"\[a\](b) \!\[c\](d) \*e\* \_f\_ \~\~g\~\~ \`h\` \$i\$"),
    ],
)
def test_prose_is_a_sentence_and_nothing_else(text: str, shown: str) -> None:
    """No list, no quotation, no heading, no link, and nobody is called."""
    assert prose(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a", "`a`"), ("`a", "`` `a ``"), ("a``b", "```a``b```"), ("", "` `"), ("a\nb", "`a b`")],
)
def test_code_is_fenced_by_more_than_it_has(text: str, shown: str) -> None:
    """A backtick in a name ends nothing."""
    assert code(text) == shown
    assert fenced("a\n````\nb", "sql") == "`````sql\na\n````\nb\n`````"


@pytest.mark.parametrize("address", ["javascript:alert(1)", "https://a.example/> b", "ftp://a.example", "/a"])
def test_only_an_address_of_the_web_is_a_link(address: str) -> None:
    """Anything else is shown as what it is."""
    assert web(address) == f"`{address}`"
    assert web("https://a.example/b#c") == "[source](<https://a.example/b#c>)"
