"""The corpus held against the server, by means that have nothing to do with a rehearsal's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.rehearsal.corpus.cases import CASES
from tests.rehearsal.corpus.observing import Observer

if TYPE_CHECKING:
    from tests.rehearsal.corpus.case import Case
    from tests.rehearsal.corpus.databases import Server

pytestmark = pytest.mark.corpus


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_server_does_what_the_corpus_says(case: Case, million: Server) -> None:
    """Locks, who waits for them, new files, new indexes, rows read for a constraint and rows: no more and no less."""
    if case.since > million.version:
        pytest.skip(f"version {case.since} has it, this is {million.version}")
    with million.clone(case, "truth") as url:
        seen = Observer(url).watch(case)
    truth = case.truth
    assert truth.sure(seen.locks) == truth.locks
    assert seen.reads == truth.reads
    assert seen.writes == truth.writes
    assert seen.rewrites == truth.rewrites
    assert seen.builds == set(truth.builds)
    assert {name for name in truth.validates if seen.read.get(name, 0)} == {
        name for name, read in truth.validates.items() if read
    }
    assert seen.rows == truth.counted(million.rows)


def test_the_corpus_is_large_enough() -> None:
    """Every case has a source, and a name of its own."""
    assert len(CASES) > 60
    assert all(case.sources for case in CASES.values())
