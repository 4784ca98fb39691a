"""Where a report is written to, and in which form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.rehearsal.shown.reports import REPORTS, safe

import flask_branches.rehearsal.shown as package
from flask_branches.errors import InvalidValue
from flask_branches.rehearsal.shown import require_format, write

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "start"),
    [("a.html", "<!doctype html>\n"), ("a.md", "### ✅ "), ("a.json", "{\n"), ("A.HTML", "<!doctype")],
)
def test_the_ending_says_the_form(name: str, start: str, tmp_path: Path) -> None:
    """A page, Markdown or JSON, in UTF-8, instead of what was there."""
    path = tmp_path / name
    path.write_text("old", "utf-8")
    write(safe(), path)
    assert path.read_text("utf-8").startswith(start)
    assert require_format(path) == path.suffix.lower()


@pytest.mark.parametrize("name", ["a.pdf", "a", "html", ".html/a.txt", ""])
def test_another_ending_is_refused(name: str) -> None:
    """Before any work is done for it, with the endings that there are."""
    with pytest.raises(InvalidValue) as caught:
        require_format(name)
    assert str(caught.value) == f"{name!r} names no form of report: let it end in .html, .md or .json."


def test_a_place_that_is_none_is_refused(tmp_path: Path) -> None:
    """A folder that is missing, and one where the file should be, are found out before any work."""
    lost = tmp_path / "none" / "a.md"
    with pytest.raises(InvalidValue) as caught:
        require_format(lost)
    folder = str(tmp_path / "none")
    assert str(caught.value) == f"The report {str(lost)!r} has no place: the folder {folder!r} does not exist. Make it."
    (tmp_path / "a.md").mkdir()
    with pytest.raises(InvalidValue, match=r"has no place: that is a folder\. Name a file in it\.$"):
        require_format(tmp_path / "a.md")


def test_a_file_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    """With the system's reason, and what to do."""
    path = tmp_path / f"{'a' * 300}.json"
    with pytest.raises(InvalidValue) as caught:
        write(safe(), path)
    assert str(caught.value) == f"The report {str(path)!r} cannot be written: File name too long. Name another file."


def test_a_link_to_nowhere_is_no_place(tmp_path: Path) -> None:
    """What only writing finds out is the same error."""
    (tmp_path / "a.md").symlink_to(tmp_path / "none" / "b.md")
    with pytest.raises(InvalidValue, match=r"a\.md' cannot be written: No such file or directory\. Name"):
        write(safe(), tmp_path / "a.md")


@pytest.mark.parametrize("ending", ["html", "md", "json"])
@pytest.mark.parametrize("name", REPORTS)
def test_every_report_can_be_written(name: str, ending: str, tmp_path: Path) -> None:
    """Whatever its texts are, half a character included, they are UTF-8 in the end."""
    write(REPORTS[name], tmp_path / f"a.{ending}")
    text = (tmp_path / f"a.{ending}").read_text("utf-8")
    assert text.endswith("\n")
    if ending == "json":
        assert json.loads(text)["verdict"] == REPORTS[name].verdict


def test_all_is_complete_and_sorted() -> None:
    """What the package offers is what it says it offers."""
    assert package.__all__ == sorted(package.__all__)
    assert {name for name, each in vars(package).items() if callable(each)} == set(package.__all__)
