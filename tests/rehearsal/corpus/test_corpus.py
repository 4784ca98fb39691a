"""The corpus rehearsed: the report says of every migration what PostgreSQL's documentation and the server say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.branches.worlds import POSTGRES
from tests.rehearsal.corpus.application import application
from tests.rehearsal.corpus.cases import CASES
from tests.rehearsal.corpus.told import expected, told

from flask_branches.rehearsal import rehearse

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rehearsal.corpus.case import Case
    from tests.rehearsal.corpus.databases import Server

_FEW = (
    "add a column with a constant default",
    "add a column with a volatile default",
    "check, not valid",
    "delete rows",
    "foreign key",
    "index",
    "reindex an index",
)


@pytest.mark.corpus
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_report_on_a_million_rows_is_true(case: Case, million: Server, tmp_path: Path) -> None:
    """Locks, who waits for them, new files, new indexes, validations and rows: no more and no less."""
    _rehearse(case, million, tmp_path)


@pytest.mark.skipif(not POSTGRES, reason="locks of Postgres")
@pytest.mark.parametrize("name", _FEW)
def test_a_report_on_few_rows_is_true(name: str, few: Server, tmp_path: Path) -> None:
    """The same, as far as it does not need a statement that takes its time."""
    _rehearse(CASES[name], few, tmp_path)


def _rehearse(case: Case, server: Server, folder: Path) -> None:
    if case.since > server.version:
        pytest.skip(f"version {case.since} has it, this is {server.version}")
    with server.clone(case, "corpus") as url, application(url, case, folder):
        report = rehearse(drift=False, undo=False)
    assert report.failure is None
    assert told(report, case.truth) == expected(case.truth, server.rows)
