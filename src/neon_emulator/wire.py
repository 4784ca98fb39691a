"""The engine's calls as lines of JSON: what the API process sends to its supervisor, and gets back.

Which calls there are, and the types of what they take and give, is read from :class:`neon_emulator.engine.Engine`.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import TypeAdapter

from neon_emulator import engine

if TYPE_CHECKING:
    from collections.abc import Mapping

_ERRORS = {
    name: cls for name, cls in vars(engine).items() if isinstance(cls, type) and issubclass(cls, engine.EngineError)
}
_WINDOW = TypeAdapter(engine.Window)

# The API process connects by itself: what travels is where to, and that the cluster has to run meanwhile. A hold has a
# name, since the one who gives it back may be speaking to another supervisor by then, which knows nothing of it.
HOLD, LET_GO = "hold", "let_go"


@dataclass(frozen=True)
class Call:
    """One of the engine's calls, and how its values are written down."""

    parameters: Mapping[str, TypeAdapter[Any]]
    result: TypeAdapter[Any]

    @classmethod
    def of(cls, hints: Mapping[str, Any]) -> Call:
        """Read it from a signature's types."""
        values = dict(hints)
        result = TypeAdapter(values.pop("return"))
        return cls({name: TypeAdapter(hint) for name, hint in values.items()}, result)

    def dump(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments as JSON has them."""
        return {name: self.parameters[name].dump_python(value, mode="json") for name, value in arguments.items()}

    def load(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments as the engine takes them."""
        return {name: self.parameters[name].validate_python(value) for name, value in arguments.items()}


def _hints(name: str) -> dict[str, Any]:
    return get_type_hints(getattr(engine.Engine, name))


def _names() -> list[str]:
    methods = inspect.getmembers(engine.Engine, inspect.isfunction)
    return [name for name, _ in methods if not name.startswith("_") and name != "session"]


CALLS: Mapping[str, Call] = {
    **{name: Call.of(_hints(name)) for name in _names()},
    HOLD: Call.of({"cluster": str, "database": str, "token": str, "return": str}),
    LET_GO: Call.of({"token": str, "return": None}),
}


def dump_error(error: engine.EngineError) -> dict[str, Any]:
    """An error as JSON has it."""
    if isinstance(error, engine.OutsideWindow):
        return {
            "kind": "OutsideWindow",
            "message": str(error),
            "window": _WINDOW.dump_python(error.window, mode="json"),
        }
    return {"kind": type(error).__name__, "message": str(error)}


def load_error(data: Mapping[str, Any]) -> engine.EngineError:
    """The error that was written down."""
    if data["kind"] == "OutsideWindow":
        return engine.OutsideWindow(data["message"], _WINDOW.validate_python(data["window"]))
    return _ERRORS[data["kind"]](data["message"])


def line(message: Mapping[str, Any]) -> bytes:
    """A message as it travels."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def parse(data: bytes) -> dict[str, Any]:
    """The message of a line."""
    message: dict[str, Any] = json.loads(data)
    return message
