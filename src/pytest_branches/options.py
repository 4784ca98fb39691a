"""Where each of the plugin's options comes from: the command line, then the environment, then the ini file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

APP = "branches_app"
FILES = (".env.test", ".env")

OPTIONS = {
    "backend": (
        "NAME",
        "which kind of database the tests run on: sqlite, postgres or neon; by default the application's own",
    ),
    "parent": ("NAME", "what they get a branch of: main, empty, or a branch; see the README for the default"),
    "at": ("TIME|LSN", "the point in time that the branch holds; only Neon has those"),
    "keep": ("WHICH", "which branches outlive the run: never (the default), failed or always"),
    "url": ("URL", "an existing branch to test on, as it is"),
    "migrate": ("WHEN", "whether an existing branch is migrated: always (the default) or never"),
    "expire": ("DURATION", "when a branch goes that nobody deletes: 90s, 30m, 12h, 7d (default 1h)"),
}

_WRITTEN = pytest.StashKey["dict[str, Mapping[str, str | None]]"]()


@dataclass(frozen=True)
class Option:
    """A value, and where it is from."""

    value: str | None
    source: str

    def __bool__(self) -> bool:
        """Whether there is one; an empty one, which takes back what another place says, is none."""
        return bool(self.value)


def add(parser: pytest.Parser) -> None:
    """Declare the options, and their twins in the ini file."""
    group = parser.getgroup("branches", "branches of the application's database")
    for name, (metavar, text) in OPTIONS.items():
        group.addoption(f"--branches-{name}", default=None, metavar=metavar, help=text)
        parser.addini(f"branches_{name}", text, type="string", default=None)
    parser.addini(APP, "the application: package:create_app, or module:app, as flask --app has it", default="")


def get(config: pytest.Config, name: str) -> Option:
    """The value that counts: an option before the environment and its files, those before the ini file.

    An empty option takes back what the other places say. An empty variable is one that is not set, as a secret that a
    build has not been given.
    """
    given = config.getoption(f"branches_{name}")
    if given is not None:
        return Option(given, f"--branches-{name}")
    variable = f"BRANCHES_{name.upper()}"
    for where, values in variables(config):
        if values.get(variable):
            return Option(values[variable], f"{variable}{where}")
    return Option(config.getini(f"branches_{name}") or None, f"branches_{name}")


def existing(config: pytest.Config) -> Option:
    """Which existing branch is named, if any is: ``.env.test`` is where a build writes it."""
    given = get(config, "url")
    if given.value is not None:
        return given
    name = "DATABASE_URL"
    return Option(written(config, ".env.test").get(name), f"{name} in .env.test")


def one_of(config: pytest.Config, name: str, words: tuple[str, ...]) -> str:
    """The value of an option that has a few; by default the first.

    Raises:
        ConfigurationError: for another one.
    """
    from flask_branches.errors import ConfigurationError

    given = get(config, name)
    if given.value and given.value not in words:
        *others, last = words
        raise ConfigurationError(f"{given.source} is {given.value!r}: say {', '.join(others)} or {last}.")
    return given.value or words[0]


def variables(config: pytest.Config) -> Iterator[tuple[str, Mapping[str, str | None]]]:
    """The environment and the files beside the ini file that stand in for it, each with the words to name it by."""
    yield "", os.environ
    for name in FILES:
        yield f" in {name}", written(config, name)


def own_variables(config: pytest.Config) -> Iterator[tuple[str, Mapping[str, str | None]]]:
    """Where an application finds the URL of its own database; ``.env.test`` names one that may be tested on."""
    yield "", os.environ
    yield " in .env", written(config, ".env")


def written(config: pytest.Config, name: str) -> Mapping[str, str | None]:
    """The variables of a file such as ``.env``."""
    from dotenv import dotenv_values

    known = config.stash.setdefault(_WRITTEN, {})
    if name not in known:
        known[name] = dotenv_values(config.rootpath / name)
    return known[name]
