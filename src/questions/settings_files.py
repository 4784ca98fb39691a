"""Where settings are written down, and what is refused there: misspelt variables, unknown keys, missing files."""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from dotenv import dotenv_values
from flask.cli import NoAppException
from pydantic_settings import TomlConfigSettingsSource

from questions.shipped import shipped

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pydantic import ValidationError
    from pydantic_settings import BaseSettings

    Settings = type[BaseSettings]

PREFIX = "QUESTIONS_"
DOTENV = ".env"
# Read before there is a class to read them: which environment, and which file in place of config/<environment>.toml.
SELECTORS = ("QUESTIONS_CONFIG", "QUESTIONS_CONFIG_FILE")


class ConfigError(NoAppException):
    """A setting that cannot be used: the message names the key and the remedy, never the value of a secret.

    Flask's own "this application cannot be made" error, so that every ``flask`` command, ``--help`` included, shows the
    message without a traceback and ends with status 2.
    """


def dotenv() -> dict[str, str | None]:
    """What ``.env`` in the working directory says; nothing where there is none."""
    return dotenv_values(DOTENV, encoding="utf-8")


def selected(name: str) -> str | None:
    """What a selector says, in the environment or else in ``.env``; its case does not count, as for every variable."""
    for source in (os.environ, dotenv()):
        for key, value in source.items():
            if key.upper() == name and value:
                return value
    return None


def variable(settings: Settings, field: str) -> str:
    """The environment variable of a field."""
    alias = settings.model_fields[field].validation_alias
    return str(alias or f"{PREFIX}{field}".upper())


def refuse_unknown_variables(fields: Iterable[str]) -> None:
    """Refuse a ``QUESTIONS_…`` variable that nothing reads, in the environment and in ``.env``.

    Args:
        fields: the variables of every environment's fields: another environment's variable is no mistake.
    """
    known = {*SELECTORS, *fields}
    # The file first, since `flask` copies it into the environment.
    for source, names in ((DOTENV, dotenv()), ("the environment", os.environ)):
        for name in names:
            if name.upper().startswith(PREFIX) and name.upper() not in known:
                raise ConfigError(f"{name} in {source} is not a setting.{_meant(name.upper(), known)}")


def refuse_unknown_keywords(settings: Settings, values: Iterable[str]) -> None:
    """Refuse a keyword that is no field: ``extra="ignore"``, which the environment needs, would swallow it."""
    for name in values:
        if name not in settings.model_fields:
            raise ConfigError(f"{settings.__name__} has no setting {name!r}.{_meant(name, settings.model_fields)}")


def toml_source(settings: Settings, environment: str) -> TomlConfigSettingsSource:
    """The settings in ``config/<environment>.toml``, or in the file that ``QUESTIONS_CONFIG_FILE`` asks for."""
    path = _toml_path(environment)
    try:
        source = TomlConfigSettingsSource(settings, path)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a TOML file: {error}") from None
    for key in source.toml_data:
        if key not in settings.model_fields:
            raise ConfigError(f"{path} has the unknown key {key!r}.{_meant(key, settings.model_fields)}")
    return source


def explain(error: ValidationError, settings: Settings) -> str:
    """A validation error as sentences that name the variable and the remedy, without any value."""
    problems = []
    for each in error.errors(include_input=False, include_url=False, include_context=False):
        name = str(each["loc"][0])
        name = variable(settings, name) if name in settings.model_fields else name
        problems.append(f"{name} {each['msg'].removeprefix('Value error, ').replace('Input should', 'should')}.")
    return " ".join(problems)


def _toml_path(environment: str) -> Path:
    asked = selected("QUESTIONS_CONFIG_FILE")
    if not asked:
        return shipped("config") / f"{environment}.toml"
    if not Path(asked).is_file():
        raise ConfigError(f"QUESTIONS_CONFIG_FILE names {asked!r}, which is not a file. Correct the path, or unset it.")
    return Path(asked)


def _meant(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    return f" Did you mean {close[0]}?" if close else f" There are: {', '.join(sorted(known))}."
