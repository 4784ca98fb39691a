"""What is counted of the requests to the API."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from flask_branches.tally import Tally


def test_what_one_counts_counts_for_the_whole() -> None:
    """From several threads at once; not the other way round."""
    whole = Tally()
    one, other = Tally(whole), Tally(whole)
    with ThreadPoolExecutor(4) as threads:
        for each in (one, other) * 500:
            threads.submit(each.count)

    whole.count()

    assert (one.number, other.number, whole.number) == (500, 500, 1001)
