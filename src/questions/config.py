"""Settings: one class per environment, read once into a frozen object.

Where a value comes from, first wins: keyword, process environment, ``.env`` in the working directory,
``config/<environment>.toml``, the class's default. An empty variable counts as unset.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import sqlalchemy as sa
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from flask_branches import BranchesError, neon_lookup
from flask_branches import config as branches_config
from questions import settings_files, urls
from questions.settings_files import ConfigError, variable

if TYPE_CHECKING:
    from pydantic_settings import PydanticBaseSettingsSource

DEFAULT_ENVIRONMENT = "sqlite"

_NAME = re.compile(r"\w{0,20}", re.ASCII)
# RFC 6750, 2.1: what a client can send after "Bearer ".
_BEARER_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


class Config(BaseSettings):
    """What every environment has; choose a subclass, or a name in :func:`load_config`.

    Raises:
        ConfigError: for a value that is missing, malformed or of the wrong kind, a misspelt ``QUESTIONS_…`` variable,
            an unknown key in a TOML file, or a missing file that ``QUESTIONS_CONFIG_FILE`` asked for.
    """

    model_config = SettingsConfigDict(
        env_prefix=settings_files.PREFIX,
        env_file=settings_files.DOTENV,
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        # The environment is full of other programs' variables; settings_files refuses misspelt ones of ours.
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    environment: ClassVar[str]
    dialect: ClassVar[str]

    database_url: SecretStr | None = Field(default=None, validation_alias="DATABASE_URL")
    api_token: SecretStr | None = None
    log_format: Literal["json", "text"] = "json"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    # 20,000 characters as JSON escapes of two surrogates each are 240,000 bytes: every valid body fits.
    max_body_bytes: int = Field(default=262_144, ge=1_024)

    def __init__(self, **values: Any) -> None:
        settings_files.refuse_unknown_variables(known_variables())
        settings_files.refuse_unknown_keywords(type(self), values)
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(settings_files.explain(error, type(self))) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  pydantic passes it by name; we read no secrets folder
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Keyword, environment, ``.env``, TOML file; the class's defaults come last by themselves."""
        toml = settings_files.toml_source(settings_cls, cls.environment)
        return init_settings, env_settings, dotenv_settings, toml

    @field_validator("database_url")
    @classmethod
    def _right_kind(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None else SecretStr(urls.normalised(value.get_secret_value(), cls.dialect))

    @field_validator("api_token")
    @classmethod
    def _can_be_sent(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _BEARER_TOKEN.fullmatch(value.get_secret_value()):
            raise ValueError("holds characters that a Bearer token cannot have; use letters, digits and - . _ ~ + /")
        return value

    @property
    def owns_database(self) -> bool:
        """Whether no database was named, so that the application makes and migrates one under ``instance/``."""
        return self.database_url is None

    @property
    def url(self) -> sa.URL | None:
        """The database that was named, its password hidden in ``repr``; None where none was."""
        return None if self.database_url is None else sa.make_url(self.database_url.get_secret_value())

    def located(self) -> Config:
        """These settings with the database's URL, which some environment may have to look up.

        Raises:
            ConfigError: where it cannot be found.
        """
        return self

    @property
    def for_branches(self) -> dict[str, Any]:
        """What the extension has to know beside the database: its keys in the application's ``config``."""
        return {}

    def migration_url(self, url: sa.URL) -> sa.URL:
        """Where migrations of a database run; another place than its URL only where that leads through a pooler.

        Args:
            url: what the engine is connected to now, which may be a branch of :attr:`url`.
        """
        return url

    @property
    def engine_options(self) -> dict[str, Any]:
        """Keyword arguments for SQLAlchemy's ``create_engine``; statements' parameters stay out of logs and errors."""
        return {"hide_parameters": True}


class SQLiteConfig(Config):
    """A SQLite file; where none is named, ``instance/questions.sqlite`` under the working directory."""

    environment: ClassVar[str] = "sqlite"
    dialect: ClassVar[str] = "sqlite"


class PostgresConfig(Config):
    """A Postgres server by ``DATABASE_URL``; where none is named, one of the application's own under ``instance/``."""

    environment: ClassVar[str] = "postgres"
    dialect: ClassVar[str] = "postgresql"

    connect_timeout: int = Field(default=5, ge=1, le=300)

    @property
    def engine_options(self) -> dict[str, Any]:
        """A connection that died is replaced unseen; a machine that is gone is noticed in ``connect_timeout`` seconds.

        A server that is there and does not answer, a stopped process, is waited for: no setting of a client's tells it
        from one that is busy.
        """
        connect_args = {
            "application_name": "questions",
            "connect_timeout": self.connect_timeout,
            "tcp_user_timeout": self.connect_timeout * 1_000,
        }
        # What the URL itself says goes first; SQLAlchemy would see it the other way round.
        said = {} if self.url is None else self.url.query
        unsaid = {name: value for name, value in connect_args.items() if name not in said}
        return {**super().engine_options, "pool_pre_ping": True, "connect_args": unsaid}


class NeonConfig(PostgresConfig):
    """A branch of Neon: TLS everywhere but on loopback, and patience for a cold start.

    It is named by ``DATABASE_URL``; or looked up with ``NEON_API_KEY`` and ``NEON_PROJECT_ID``, whose default branch is
    meant where ``NEON_BRANCH`` names no other.
    """

    environment: ClassVar[str] = "neon"

    neon_api_key: SecretStr | None = Field(default=None, validation_alias="NEON_API_KEY")
    neon_project_id: str | None = Field(default=None, validation_alias="NEON_PROJECT_ID")
    neon_api_host: str | None = Field(default=None, validation_alias="NEON_API_HOST")
    neon_branch: str | None = Field(default=None, validation_alias="NEON_BRANCH")
    neon_database: str | None = Field(default=None, validation_alias="NEON_DATABASE")
    neon_role: str | None = Field(default=None, validation_alias="NEON_ROLE")
    # Whatever a URL looks like, such as that of a tunnel: no database is made on a branch's compute unasked.
    branches_backend: str = Field(default="neon", validation_alias="BRANCHES_BACKEND")
    branches_api_timeout: str | None = Field(default=None, validation_alias="BRANCHES_API_TIMEOUT")
    branches_api_patience: str | None = Field(default=None, validation_alias="BRANCHES_API_PATIENCE")

    # A suspended compute was seen to take 5 s to its first answer; a branch just made takes longer.
    connect_timeout: int = Field(default=30, ge=1, le=300)

    @field_validator("database_url")
    @classmethod
    def _encrypted(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None else SecretStr(urls.with_tls(value.get_secret_value()))

    def model_post_init(self, _context: object, /) -> None:
        """Refuse to start without a branch: nothing could stand in for it."""
        if self.database_url is None and (self.neon_api_key is None or self.neon_project_id is None):
            missing = "NEON_PROJECT_ID" if self.neon_api_key else "NEON_API_KEY" if self.neon_project_id else None
            if missing is not None:
                raise ConfigError(
                    f"{missing} is not set, and without it no database can be looked up. Set it too, in the "
                    "environment or in .env, or set DATABASE_URL to the connection string of a Neon branch."
                )
            raise ConfigError(
                "DATABASE_URL is not set, and the neon environment has no database of its own. "
                "Set it to the connection string of a Neon branch, or set NEON_API_KEY and NEON_PROJECT_ID to have it "
                "looked up, in the environment or in .env."
            )

    @property
    def owns_database(self) -> bool:
        """Never: a branch that was not named is looked up."""
        return False

    def located(self) -> Config:
        """These settings with the URL of the branch, asked of Neon where it is not set."""
        if self.database_url is not None:
            return self
        try:
            neon = branches_config.read_neon(self.for_branches.get)
            assert neon is not None  # noqa: S101  for mypy: without a key these settings are refused
            found = self._encrypted(self._right_kind(SecretStr(neon_lookup.database_url(neon))))
        except BranchesError as error:
            raise ConfigError(str(error)) from None
        except ValueError as error:
            raise ConfigError(f"The connection string that Neon tells {error}.") from None
        return self.model_copy(update={"database_url": found})

    @property
    def for_branches(self) -> dict[str, Any]:
        """How Neon is asked for branches."""
        return {
            variable(type(self), name): getattr(self, name)
            for name in type(self).model_fields
            if name.startswith(("branches_", "neon_")) and getattr(self, name) is not None
        }

    def migration_url(self, url: sa.URL) -> sa.URL:
        """The branch's direct host: a transaction pooler has no sessions, which migrations need."""
        return urls.direct(url)

    @property
    def engine_options(self) -> dict[str, Any]:
        """Through a pooler no statement is prepared, since the next one may reach another session."""
        options = super().engine_options
        if self.url is not None and urls.is_pooled(self.url):
            options["connect_args"]["prepare_threshold"] = None
        return options


_BY_NAME: dict[str, type[Config]] = {each.environment: each for each in (SQLiteConfig, PostgresConfig, NeonConfig)}


def load_config(config: Config | str | None = None) -> Config:
    """The settings that an application is made with.

    Args:
        config: an environment's name (``"sqlite"``, ``"postgres"``, ``"neon"``), a :class:`Config`, or None for the
            environment that ``QUESTIONS_CONFIG`` names, ``sqlite`` where it is not set.

    Raises:
        ConfigError: for an unknown name, and for everything that :class:`Config` refuses.
    """
    if isinstance(config, Config):
        return config
    name = config if config is not None else _chosen()
    if name not in _BY_NAME:
        source = "create_app()" if config is not None else "QUESTIONS_CONFIG"
        # What was meant for DATABASE_URL may have a password in it.
        named = f"the environment {name!r}" if _NAME.fullmatch(name) else "no environment"
        raise ConfigError(
            f"{source} names {named}; there are {', '.join(sorted(_BY_NAME))}. A database is named by DATABASE_URL."
        )
    return _BY_NAME[name]()


def _chosen() -> str:
    return settings_files.selected("QUESTIONS_CONFIG") or DEFAULT_ENVIRONMENT


def known_variables() -> set[str]:
    """The environment variables of every environment's fields."""
    return {settings_files.variable(each, name) for each in _BY_NAME.values() for name in each.model_fields}
