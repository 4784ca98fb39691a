"""What a branch can be called, when it goes, and which past it can hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from tests.branches.worlds import not_on_neon

from flask_branches import Branch, BranchExists, InvalidValue, NotSupported
from flask_branches.branch import Lsn, duration, now, point_in_time, written

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.branches.worlds import Client, World

    At = Callable[[str | Branch], Client]
    MakeWorld = Callable[..., World]


@pytest.mark.parametrize(
    "name",
    [
        "preview/pr-12",
        "Größe 大きさ",
        "with spaces inside",
        'it\'s 100% "odd"; drop',
        "..",
        ".+new-",
        "a.sqlite",
        "a.lock",
        "a.sqlite.branch",
        "a.sqlite.branch.b",
        ".+new-a.sqlite.branch",
        "%2F=2F",
        "\\back\\slash",
        "UPPER",
        "{brace}:colon$dollar",
    ],
)
def test_every_printable_name_will_do(world: World, at: At, name: str) -> None:
    """It is listed as it was given, and everything can be done with it."""
    branch = world.branches.create(name, expires_in=None)
    at(branch).add("third")

    assert [each.name for each in world.branches.list()] == [name]
    assert at(world.branches.get(name)).texts() == ["first", "second", "third"]
    assert at(world.branches.reset(name)).texts() == ["first", "second"]
    child = world.branches.create("child", parent=name)
    assert (child.parent, world.branches.diff("child")) == (name, "")
    with pytest.raises(BranchExists):
        world.branches.create(name)
    world.branches.delete("child")
    world.branches.delete(name)
    assert world.branches.list() == []


def test_a_name_may_be_as_long_as_there_is_room(world: World) -> None:
    """Not a byte longer, and the message says how long it is and may be; letters beyond ASCII have several."""
    longest = world.backend.longest_name
    assert longest >= 30
    name = "ä" * (longest // 2) + "a" * (longest % 2)

    assert world.branches.create(name).name == world.branches.get(name).name == name
    with pytest.raises(
        InvalidValue, match=rf"^The branch's name 'ä+a*b' has {longest + 1} bytes, .* {longest}: shorten"
    ):
        world.branches.create(name + "b")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", r"^The branch's name is empty: give it one, or leave it out to have one made\.$"),
        ("  ", r"^The branch's name is empty"),
        ("main", r"^A branch cannot be called 'main', which is what a parent is called: choose another name\.$"),
        ("empty", r"^A branch cannot be called 'empty'"),
        ("-rf", r"^The branch's name '-rf' begins with a dash, or has spaces around it or .*: choose another name\.$"),
        (" a", r"^The branch's name ' a' begins"),
        ("a\n", r"^The branch's name 'a\\n' begins"),
        ("a\0b", r"^The branch's name 'a\\x00b' begins"),
        ("a\x1b[31m", r"^The branch's name 'a\\x1b\[31m' begins"),
        ("\udc80", r"^The branch's name '\\udc80' begins"),
    ],
)
def test_what_cannot_be_a_name_is_refused(light: World, name: str, said: str) -> None:
    """With the name itself, and before anything is made."""
    with pytest.raises(InvalidValue, match=said):
        light.branches.create(name)
    assert light.branches.list() == []


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("12h", timedelta(hours=12)),
        (" 7d ", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        (timedelta(hours=1), timedelta(hours=1)),
    ],
)
def test_a_branch_goes_after_a_span(light: World, text: str | timedelta, span: timedelta) -> None:
    """Counted from its making."""
    before = now()

    branch = light.branches.create(expires_in=text)

    assert branch.expires_at is not None
    assert before + span <= branch.expires_at <= now() + span
    assert not branch.has_expired


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("soon", r"^expires_in 'soon' is not a duration: write for example 30m, 12h or 7d\.$"),
        ("", r"^expires_in '' is not a duration"),
        ("1.5h", r"^expires_in '1\.5h' is not a duration"),
        ("-1h", r"^expires_in '-1h' is not a duration"),
        ("never", r"^expires_in 'never' is not a duration"),
        ("٣h", r"^expires_in '٣h' is not a duration"),
        (3600, r"^expires_in 3600 is not a duration"),
        ("0s", r"^expires_in '0s' is over before it begins: write for example 30m, 12h or 7d\.$"),
        (timedelta(seconds=-1), r"^expires_in '-1 day, 23:59:59' is over before it begins"),
        ("999999999w", r"^expires_in '999999999w' is longer than time"),
        (timedelta.max, r"^expires_in '999999999 days.*' is longer than time"),
    ],
)
def test_a_span_that_cannot_be_is_refused(light: World, value: Any, said: str) -> None:
    """With the value and what can be written."""
    with pytest.raises(InvalidValue, match=said):
        light.branches.create(expires_in=value)
    assert light.branches.list() == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("2001-01-01T00:00:00Z", r"^expires_at '2001-01-01T00:00:00Z' is in the past: name a moment to come\.$"),
        (datetime(2001, 1, 1, tzinfo=UTC), r"^expires_at '2001-01-01T00:00:00Z' is in the past"),
        ("2100-01-01T00:00:00", r"^expires_at '2100-01-01T00:00:00' has no time zone: write for example 2026-12-01T09"),
        ("tomorrow", r"^expires_at 'tomorrow' is not a time: write for example 2026-12-01T09:00:00Z\.$"),
        ("2100-02-30T00:00:00Z", r"^expires_at '2100-02-30T00:00:00Z' is not a time"),
    ],
)
def test_a_moment_that_cannot_be_is_refused(light: World, value: Any, said: str) -> None:
    """One that is over, that has no zone, that is none."""
    with pytest.raises(InvalidValue, match=said):
        light.branches.create(expires_at=value)


def test_a_branch_goes_at_a_moment(light: World) -> None:
    """Whatever zone it was written in."""
    at = datetime(2100, 1, 1, 12, tzinfo=timezone(timedelta(hours=5)))

    assert light.branches.create("a", expires_at=at).expires_at == at
    assert (
        written(light.branches.create("b", expires_at="2100-01-01T12:00:00+05:00").expires_at) == "2100-01-01T07:00:00Z"
    )


def test_a_span_and_a_moment_together_are_refused(light: World) -> None:
    """Nobody could tell which is meant."""
    with pytest.raises(InvalidValue, match=r"^expires_in and expires_at are both given: leave one of them out\.$"):
        light.branches.create(expires_in="1h", expires_at="2100-01-01T00:00:00Z")


def test_every_branch_goes_unless_it_was_said_that_it_never_does(make_world: MakeWorld) -> None:
    """By default after BRANCHES_EXPIRE, and that is a day by default."""
    one = make_world()
    other = make_world(name="other", BRANCHES_EXPIRE="2h")

    with one.app.app_context():
        assert _lives_for(one, timedelta(days=1))
        assert one.branches.create(expires_in=None).expires_at is None
    assert _lives_for(other, timedelta(hours=2))
    assert other.branches.create(expires_in=None).expires_at is None


def _lives_for(world: World, span: timedelta) -> bool:
    """Whether a new branch does, by the clock of who asked for it; Neon's may be another."""
    before = now()
    expires_at = world.branches.create().expires_at
    return expires_at is not None and before + span <= expires_at <= now() + span


def test_an_expiry_can_be_extended(two: World) -> None:
    """In every database, or be taken away."""
    branch = two.branches.create("mine", expires_in="1h")

    for later in (now() + timedelta(days=3), None):
        assert two.branches.databases.update(branch, later).expires_at == later
        found = [there.backend.get("mine") for there in two.branches.databases.all]
        assert [each.expires_at for each in found] == [later] * 2


@not_on_neon("a record is written once")
def test_what_a_record_says_beside_stays_until_it_is_given_anew(two: World) -> None:
    """In every database."""
    branch = two.branches.create("mine")

    updated = two.branches.databases.update(branch, None, {"state": "x"})

    assert updated.labels == {"state": "x"}
    assert two.branches.databases.update(updated, None).labels == {"state": "x"}
    found = [there.backend.get("mine") for there in two.branches.databases.all]
    assert [each.labels for each in found] == [{"state": "x"}] * 2


@not_on_neon("there is a past")
@pytest.mark.parametrize("at", ["2001-01-01T00:00:00Z", datetime(2001, 1, 1, tzinfo=UTC), "0/1DE2850", Lsn("0/1")])
def test_a_past_that_the_database_has_not_is_refused(world: World, at: Any) -> None:
    """The message names who has one, and nothing is made."""
    with pytest.raises(
        NotSupported, match=r"keeps no past to branch from: leave the point in time out, or use Neon\.$"
    ):
        world.branches.create(at=at)
    assert world.branches.list() == []


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("yesterday", r"^The point in time 'yesterday' is not a time: write for example 2026-12-01T09:00:00Z\.$"),
        ("2001-01-01T00:00:00", r"^The point in time '2001-01-01T00:00:00' has no time zone"),
        (
            "2100-01-01T00:00:00Z",
            r"^The point in time '2100-01-01T00:00:00Z' is still to come: name one in the past\.$",
        ),
        ("", r"^The point in time '' is not a time"),
        ("0/XYZ", r"^The point in time '0/XYZ' is not a time"),
        ("123456789/0", r"^The point in time '123456789/0' is not a time"),
    ],
)
def test_a_past_that_cannot_be_read_is_refused(light: World, at: str, said: str) -> None:
    """Before anybody asks the database."""
    with pytest.raises(InvalidValue, match=said):
        light.branches.create(at=at)


def test_points_in_time_are_moments_and_log_positions() -> None:
    """As neonctl writes them."""
    assert point_in_time(" 0/1de2850 ") == Lsn("0/1DE2850")
    assert point_in_time("2001-01-01T02:00:00+02:00") == datetime(2001, 1, 1, tzinfo=UTC)


def test_a_message_names_the_option_that_was_meant() -> None:
    """Whoever reads a duration says where it was written."""
    with pytest.raises(InvalidValue, match=r"^BRANCHES_EXPIRE 'x' is not a duration"):
        duration("x", "BRANCHES_EXPIRE")
