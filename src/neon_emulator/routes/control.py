"""The control of the emulator itself, below `/_emulator`: faults, what was asked, the clock, a fresh start."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast

from flask import Blueprint, current_app, request
from marshmallow import Schema, ValidationError

from neon_emulator import strict_json
from neon_emulator.engine import EngineGone
from neon_emulator.errors import InvalidRequest, NotAllowed
from neon_emulator.faults.layer import Disturbing
from neon_emulator.faults.rules import Effect, Fault
from neon_emulator.faults.schemas import FURTHEST, ClockSchema, FaultSchema, SinceSchema
from neon_emulator.http import check_key, emulation

if TYPE_CHECKING:
    from flask import Flask
    from flask.typing import ResponseReturnValue

    from neon_emulator.clock import Clock
    from neon_emulator.faults.requests_log import Asked

EXTENSION = "neon_emulator_control"

_OPEN = "control.health"
_NOTHING = Effect()

bp = Blueprint("control", __name__, url_prefix="/_emulator")


def install(app: Flask) -> None:
    """Put the control into an application, and around it the layer that everything asked of the API goes through."""
    layer = Disturbing(app.wsgi_app)
    app.wsgi_app = layer  # type: ignore[method-assign]  # as Flask documents it; to mypy it is a method
    app.extensions[EXTENSION] = layer
    app.register_blueprint(bp)


@bp.before_request
def _admit() -> None:
    if request.endpoint != _OPEN:
        check_key()


@bp.get("/health")
def health() -> ResponseReturnValue:
    """Say that the emulator is up."""
    return {"status": "ok", "version": version("questions")}


@bp.get("/faults")
def list_faults() -> ResponseReturnValue:
    """List the faults with what is left of them."""
    return {"faults": [_fault(fault) for fault in _layer().faults.all()]}


@bp.post("/faults")
def add_faults() -> ResponseReturnValue:
    """Set a fault, or a list of them."""
    asked = _json()
    faults = _loaded(FaultSchema(many=isinstance(asked, list)), asked)
    added = _layer().faults.add(faults if isinstance(faults, list) else [faults])
    return {"faults": [_fault(fault) for fault in added]}, 201


@bp.delete("/faults")
def clear_faults() -> ResponseReturnValue:
    """Forget every fault."""
    _layer().faults.clear()
    return "", 204


@bp.get("/requests")
def list_requests() -> ResponseReturnValue:
    """List what was asked of the API, in order; with `since`, what came after the request of that number."""
    since = _loaded(SinceSchema(), request.args.to_dict())["since"]
    return {"requests": [_asked(asked) for asked in _layer().log.since(since)]}


@bp.delete("/requests")
def clear_requests() -> ResponseReturnValue:
    """Forget what was asked; the numbers go on."""
    _layer().log.clear()
    return "", 204


@bp.get("/clock")
def show_clock() -> ResponseReturnValue:
    """Tell the time that the emulator has, and how many seconds it is ahead of the machine's."""
    clock = emulation().clock
    return {"now": _time(clock.now()), "offset": clock.offset}


@bp.post("/clock")
def move_clock() -> ResponseReturnValue:
    """Move the clock on; answered when everything that is due by then has been done."""
    clock = emulation().clock
    clock.advance(_seconds(_loaded(ClockSchema(), _json()), clock))
    try:
        emulation().tick()
    except EngineGone as error:
        again = 'send {"advance": 0}, since the same request would move it further, or be refused.'
        raise EngineGone(f"{error} The clock was moved before: {again}") from error
    return show_clock()


@bp.post("/reset")
def reset() -> ResponseReturnValue:
    """Start anew: no project, no fault, no request, the machine's time; requests that a fault delays are dropped."""
    layer = _layer()
    layer.faults.clear()
    layer.interrupt()
    emulation().reset()
    layer.log.clear()
    return "", 204


def _layer() -> Disturbing:
    return cast("Disturbing", current_app.extensions[EXTENSION])


def _json() -> object:
    """What a request's body says.

    Raises:
        InvalidRequest: where it is no JSON.
    """
    try:
        return strict_json.loads(request.get_data())
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"invalid request: decode application/json: {error}") from error


def _loaded(schema: Schema, asked: object) -> Any:  # noqa: ANN401 - each schema makes its own kind
    """What a schema makes of what was asked.

    Raises:
        NotAllowed: where it does not fit; the text names the key.
    """
    try:
        return schema.load(cast("Any", asked))
    except ValidationError as error:
        raise NotAllowed(f"invalid request: {_first(error.messages)}") from error


def _seconds(asked: dict[str, Any], clock: Clock) -> float:
    """How far the clock is to go, in seconds.

    Raises:
        NotAllowed: for a time that has passed, or one more than ten years ahead of the machine's.
    """
    key, wanted = next(iter(asked.items()))
    seconds = float(wanted) if key == "advance" else (wanted - clock.now()).total_seconds()
    if seconds < 0 or clock.offset + seconds > FURTHEST:
        raise NotAllowed(
            f"invalid request: {key}: the clock goes forward, to at most {FURTHEST} seconds ahead of the machine's; "
            f"it is {_time(clock.now())}, {clock.offset} seconds ahead"
        )
    return seconds


def _fault(fault: Fault) -> dict[str, Any]:
    effect = {key: value for key, value in asdict(fault.effect).items() if value != getattr(_NOTHING, key)}
    return {"id": fault.id, "method": fault.method, "path": fault.path, "skip": fault.skip, "left": fault.left} | effect


def _asked(asked: Asked) -> dict[str, Any]:
    ended = asked.ended and _time(asked.ended)
    return asdict(asked) | {"started": _time(asked.started), "ended": ended}


def _time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _first(messages: Any, name: str = "") -> str:  # noqa: ANN401 - marshmallow's trees of messages
    """The first message of a tree, after the name of its key: `0.status: Not a valid integer.`."""
    if isinstance(messages, dict):
        key, inner = next(iter(messages.items()))
        key = "body" if key == "_schema" else str(key)
        return _first(inner, f"{name}.{key}" if name else key)
    return f"{name}: {messages[0] if isinstance(messages, list) else messages}"
