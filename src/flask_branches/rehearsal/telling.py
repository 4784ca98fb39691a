"""What was watched, put into a report's words."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from flask_branches.rehearsal.locks import blocks, merged, mode_of, strength
from flask_branches.rehearsal.observed import Blocking, Lock, Probe
from flask_branches.rehearsal.report import Revision

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from flask_branches.rehearsal.course import Course
    from flask_branches.rehearsal.locks import Held
    from flask_branches.rehearsal.looking import Looks
    from flask_branches.rehearsal.observed import Growth, Rows, Span, Transaction, Wal
    from flask_branches.rehearsal.probing import Waited
    from flask_branches.rehearsal.runs import Run

_SHOWN = 100
"""How many spans of one lock are kept: a backfill that commits in batches has thousands."""
_CLOSE = 1
"""Milliseconds between the spans of two parts of a table that a reader would feel as one: who has got the one waits for
the other then."""
_TOAST = "t"


@dataclass(frozen=True)
class Measured:
    """What was measured of a revision when it had ended."""

    wal: Wal | None = None
    growth: tuple[Growth, ...] = ()
    rows: tuple[Rows, ...] = ()


@dataclass
class _Spans:
    """When a table was locked, and when what is part of it was: its indexes, its partitions."""

    own: list[Span] = field(default_factory=list)
    parts: list[Span] = field(default_factory=list)

    def add(self, lock: Lock, *, is_part: bool) -> None:
        (self.parts if is_part else self.own).extend(lock.spans)

    def felt(self) -> list[Span]:
        """When a reader would wait: whoever has waited for a table is next when that is let go of."""
        own = merged(self.own)
        more = [
            each
            for each in self.parts
            if not any(span.began <= each.began + _CLOSE and each.ended <= span.ended + _CLOSE for span in own)
        ]
        return merged([*own, *more], _CLOSE) if more else own


def revisions(course: Course, measured: Sequence[Measured]) -> list[Revision]:
    """All that one database went through, by revision."""
    held = course.observer.tracker.seen() if course.observer is not None else []
    waited = _probes(course)
    found = []
    for number, run in enumerate(course.runs):
        mine = [each for each in held if each.revision == run.id]
        locks = _locks(course, mine)
        figures = measured[number] if number < len(measured) else Measured()
        found.append(_revision(course, run, locks, figures, waited))
    return found


def blocking(locks: Iterable[Lock], probes: Iterable[Probe] = ()) -> tuple[Blocking, ...]:
    """For how long those who use a table would have waited, by the locks; the longest waits first."""
    reads: dict[str, _Spans] = defaultdict(_Spans)
    writes: dict[str, _Spans] = defaultdict(_Spans)
    for lock in locks:
        if lock.existed and lock.blocks in {"writes", "reads and writes"}:
            for table in (lock.table, *lock.above):
                writes[table].add(lock, is_part=lock.object != table)
                if lock.blocks == "reads and writes":
                    reads[table].add(lock, is_part=lock.object != table)
    probes = list(probes)
    found = [
        Blocking(
            table,
            _shown(reads[table].felt()),
            _shown(spans.felt()),
            tuple(each for each in probes if each.table == table),
        )
        for table, spans in writes.items()
    ]
    return tuple(sorted(found, key=lambda each: (-each.longest_read, -each.longest_write)))


def probes_of(course: Course, locks: Iterable[Lock]) -> tuple[Probe, ...]:
    """What the probes of a database have waited, beside what they should have by the locks."""
    by_table = {each.table: each for each in blocking(locks)}
    found = []
    for waited in _probes(course):
        there = by_table.get(course.looks.known[waited.table].name) if course.looks is not None else None
        derived = _derived(there, waited) if there is not None else None
        if there is not None and derived is not None:
            found.append(Probe(there.table, waited.what, waited.ended - waited.began, derived))
    return tuple(found)


def warnings(courses: Iterable[Course]) -> Iterator[str]:
    """What keeps nobody from deploying, and should be known."""
    for course in courses:
        name = "the default database" if course.key is None else f"the database {course.key!r}"
        if course.observer is not None and course.observer.lost is not None:
            yield f"The session that looked at the locks of {name} was lost: what came later is not in here."
        for run in course.runs:
            if run.own:
                yield (
                    f"{run.id} opened a connection of its own, whose work is no part of its transaction: use "
                    "op.get_bind()."
                )
            # On SQLite the driver commits before and after what changes the schema, whatever the migration does.
            if course.connection.dialect.name != "sqlite":
                yield from _ended_by_itself(run.id, [each for each in course.transactions if run.id in each.revisions])


def _ended_by_itself(revision: str, transactions: Sequence[Transaction]) -> Iterator[str]:
    times = sum(each.committed for each in transactions[:-1])
    if times:
        yield (
            f"{revision} committed by itself, {'once' if times == 1 else f'{times:,} times'}: if it fails on its way, "
            "what it has done until then stays."
        )
    if times < len(transactions) - 1:
        yield (
            f"{revision} rolled back by itself: what it had done until then has come to nothing, and it counts as run "
            "all the same."
        )


def unwatched(courses: Iterable[Course]) -> Iterator[str]:
    """What was done by others than the rehearsal knows of."""
    for name in dict.fromkeys(run.id for course in courses for run in course.runs if run.others):
        yield (
            f"What other sessions have locked while {name} ran: there were some that were opened past SQLAlchemy, as "
            "by another program."
        )


def _derived(there: Blocking, waited: Waited) -> float | None:
    """What a probe should have waited, by the locks that were seen; None where it met none of them."""
    spans = there.reads if waited.what == "reads" else there.writes
    met = [each.ended for each in spans if each.began <= waited.ended and each.ended >= waited.began]
    return max(max(met) - waited.began, 0) if met else None


def _probes(course: Course) -> list[Waited]:
    return course.observer.prober.waited if course.observer is not None else []


def _revision(course: Course, run: Run, locks: tuple[Lock, ...], figures: Measured, waited: list[Waited]) -> Revision:
    probed = probes_of(course, locks) if waited else ()
    statements = sorted((tally.told() for tally in run.statements.values()), key=lambda each: each.began)
    return Revision(
        run.id,
        run.down,
        run.title,
        course.key,
        run.span,
        tuple(run.transactions),
        tuple(statements),
        locks,
        blocking(locks, probed),
        tuple(run.changes.rewrites),
        tuple(run.changes.indexes),
        tuple(run.changes.validations),
        figures.wal,
        figures.growth,
        figures.rows,
        failed=run.failed,
    )


def _locks(course: Course, held: list[Held]) -> tuple[Lock, ...]:
    if course.looks is None:
        return ()
    made = [lock for each in held if (lock := _lock(course.looks, each)) is not None]
    made.sort(key=lambda each: (each.spans[0].began, each.object))
    kept = [lock for lock in made if not _is_covered(lock, made)]
    return tuple(replace(lock, spans=_shown(lock.spans)) for lock in kept)


def _lock(looks: Looks, held: Held) -> Lock | None:
    """None for what is Alembic's own, for what was there for a moment only, and for what is kept out of line."""
    relation = looks.known.get(held.relation)
    if relation is None:
        return None
    table = looks.known.get(looks.table_of(held.relation), relation)
    if relation.letter == _TOAST or (relation.is_index and looks.is_of_toast(relation)):
        return None
    existed = held.relation in looks.before.by_oid and looks.taken_over.get(held.relation) != held.revision
    spans = merged(held.spans)
    total = sum(each.length for each in spans)
    mode, kept_out = mode_of(held.lock), blocks(held.lock)
    return Lock(
        relation.name,
        relation.kind,
        table.name,
        mode,
        kept_out,
        existed,
        tuple(spans),
        total,
        held.sampled,
        looks.above(table.oid),
    )


def _is_covered(lock: Lock, others: Iterable[Lock]) -> bool:
    """Whether a stronger lock on the same object says all that this one would."""
    stronger = [
        span
        for other in others
        if (other.object, other.existed) == (lock.object, lock.existed) and strength(other.mode) > strength(lock.mode)
        for span in other.spans
    ]
    return all(any(span.began <= each.began and span.ended >= each.ended for span in stronger) for each in lock.spans)


def _shown(spans: Iterable[Span]) -> tuple[Span, ...]:
    longest = sorted(spans, key=lambda each: -each.length)[:_SHOWN]
    return tuple(sorted(longest, key=lambda each: each.began))
