"""The file that a report is written to; its ending says in which form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flask_branches.errors import InvalidValue

if TYPE_CHECKING:
    from os import PathLike

    from flask_branches.rehearsal.report import Report

FORMATS = (".html", ".md", ".json")


def require_format(path: str | PathLike[str]) -> str:
    """Which form a file is to have, found out before any work is done for it.

    Raises:
        InvalidValue: for an ending that says none of them, or a place where no file can be.
    """
    target = Path(path)
    ending = target.suffix.lower()
    if ending not in FORMATS:
        raise InvalidValue(
            f"{str(path)!r} names no form of report: let it end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}."
        )
    try:
        has_folder, is_folder = target.parent.is_dir(), target.is_dir()
    except OSError as error:
        raise _unwritable(path, error) from error
    if not has_folder:
        folder = str(target.parent)
        raise InvalidValue(f"The report {str(path)!r} has no place: the folder {folder!r} does not exist. Make it.")
    if is_folder:
        raise InvalidValue(f"The report {str(path)!r} has no place: that is a folder. Name a file in it.")
    return ending


def write(report: Report, path: str | PathLike[str]) -> None:
    """Write a report in the form that the file's ending says.

    Raises:
        InvalidValue: for a file that cannot be written, with the reason.
    """
    text = _text(report, require_format(path))
    try:
        Path(path).write_text(text, "utf-8", newline="\n")
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: str | PathLike[str], error: OSError) -> InvalidValue:
    reason = error.strerror or type(error).__name__
    return InvalidValue(f"The report {str(path)!r} cannot be written: {reason}. Name another file.")


def _text(report: Report, ending: str) -> str:
    if ending == ".html":
        from flask_branches.rehearsal.shown.html import html

        return html(report)
    if ending == ".md":
        from flask_branches.rehearsal.shown.markdown import markdown

        return markdown(report)
    from flask_branches.rehearsal.shown.json import json

    return json(report)
