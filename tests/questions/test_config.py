"""Settings: where they come from, what is refused, and that no secret shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from questions import Config, ConfigError, PostgresConfig, SQLiteConfig, create_app
from questions.config import known_variables, load_config

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hunter2-and-more"
POSTGRES = f"postgresql://someone:{SECRET}@db.example/questions"
NEON = f"postgresql://someone:{SECRET}@ep-cool-sea-123456.eu-central-1.aws.neon.tech/questions"
POOLED = NEON.replace("123456.", "123456-pooler.")


@pytest.fixture(autouse=True)
def defaults_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of whoever runs the suite are not these tests' business."""
    for name in ("DATABASE_URL", "PGHOST"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("given", "expected"), [("sqlite", SQLiteConfig), ("postgres", PostgresConfig), (None, SQLiteConfig)]
)
def test_an_environment_is_chosen_by_name_or_not_at_all(given: str | None, expected: type[Config]) -> None:
    """Nothing is named: sqlite."""
    assert type(load_config(given)) is expected


def test_settings_that_are_given_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment chooses."""
    monkeypatch.setenv("QUESTIONS_CONFIG", "postgres")
    config = SQLiteConfig()

    assert load_config(config) is config


@pytest.mark.parametrize("key", ["QUESTIONS_CONFIG", "questions_config"])
@pytest.mark.parametrize("where", ["environment", ".env"])
def test_questions_config_chooses_where_nothing_is_named(
    monkeypatch: pytest.MonkeyPatch, working_directory: Path, where: str, key: str
) -> None:
    """QUESTIONS_CONFIG names the environment, whatever its case, and a name in the call comes before it."""
    if where == "environment":
        monkeypatch.setenv(key, "postgres")
    else:
        (working_directory / ".env").write_text(f"{key}=postgres\n")

    assert type(load_config()) is PostgresConfig
    assert type(load_config("sqlite")) is SQLiteConfig


@pytest.mark.parametrize(
    ("given", "source"), [("mysql", "create_app()"), ("", "create_app()"), (None, "QUESTIONS_CONFIG")]
)
def test_an_unknown_environment_is_refused(monkeypatch: pytest.MonkeyPatch, given: str | None, source: str) -> None:
    """The error says who named it and which there are."""
    monkeypatch.setenv("QUESTIONS_CONFIG", "mysql")

    with pytest.raises(ConfigError) as error:
        create_app(given)

    name = "mysql" if given is None else given
    assert error.value.message == (
        f"{source} names the environment {name!r}; there are neon, postgres, sqlite. "
        "A database is named by DATABASE_URL."
    )


@pytest.mark.parametrize("by", ["create_app()", "QUESTIONS_CONFIG"])
def test_a_url_in_place_of_an_environment_is_not_shown(monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    """A likely mistake, and it has a password in it."""
    monkeypatch.setenv("QUESTIONS_CONFIG", POSTGRES)

    with pytest.raises(ConfigError) as error:
        create_app(POSTGRES if by == "create_app()" else None)

    assert error.value.message == (
        f"{by} names no environment; there are neon, postgres, sqlite. A database is named by DATABASE_URL."
    )


SOURCES = ["keyword", "environment", ".env", "TOML", "default"]


@pytest.mark.parametrize("highest", range(len(SOURCES)), ids=SOURCES)
def test_the_first_source_wins(monkeypatch: pytest.MonkeyPatch, working_directory: Path, highest: int) -> None:
    """Keyword, process environment, .env, TOML file, default: each comes before all that follow."""
    values = dict(zip(SOURCES, ["DEBUG", "WARNING", "ERROR", "WARNING", "INFO"], strict=True))
    given = SOURCES[highest:]
    if "environment" in given:
        monkeypatch.setenv("QUESTIONS_LOG_LEVEL", values["environment"])
    if ".env" in given:
        (working_directory / ".env").write_text(f"QUESTIONS_LOG_LEVEL={values['.env']}\n")
    if "TOML" in given:
        (working_directory / "own.toml").write_text(f'log_level = "{values["TOML"]}"\n')
        monkeypatch.setenv("QUESTIONS_CONFIG_FILE", "own.toml")
    keywords: dict[str, Any] = {"log_level": values["keyword"]} if "keyword" in given else {}

    assert SQLiteConfig(**keywords).log_level == values[SOURCES[highest]]


def test_the_environments_own_file_is_read() -> None:
    """config/sqlite.toml asks for text logs, which are not the class's default."""
    assert (SQLiteConfig().log_format, PostgresConfig().log_format) == ("text", "json")


@pytest.mark.parametrize("name", ["DATABASE_URL", "QUESTIONS_API_TOKEN", "QUESTIONS_LOG_LEVEL", "QUESTIONS_CONFIG"])
def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """An unset secret of a CI arrives as an empty variable."""
    monkeypatch.setenv(name, "")

    config = load_config()

    assert (config.environment, config.database_url, config.api_token, config.log_level) == (
        "sqlite",
        None,
        None,
        "INFO",
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("QUESTIONS_API_TOKN", "QUESTIONS_API_TOKEN"),
        ("questions_log_leve", "QUESTIONS_LOG_LEVEL"),
        ("QUESTIONS_CONFG", "QUESTIONS_CONFIG"),
    ],
)
@pytest.mark.parametrize("where", ["the environment", ".env"])
def test_a_misspelt_variable_is_refused(
    monkeypatch: pytest.MonkeyPatch, working_directory: Path, name: str, meant: str, where: str
) -> None:
    """The error names the variable, where it stands, and what was meant; its value may be a secret."""
    if where == ".env":
        (working_directory / ".env").write_text(f"{name}={SECRET}\n")
    else:
        monkeypatch.setenv(name, SECRET)

    with pytest.raises(ConfigError) as error:
        load_config()

    assert error.value.message == f"{name} in {where} is not a setting. Did you mean {meant}?"


def test_a_variable_that_flask_has_copied_is_reported_where_it_stands(
    monkeypatch: pytest.MonkeyPatch, working_directory: Path
) -> None:
    """`flask` loads .env into the environment, and the file is what has to be corrected."""
    (working_directory / ".env").write_text("QUESTIONS_API_TOKN=x\n")
    monkeypatch.setenv("QUESTIONS_API_TOKN", "x")

    with pytest.raises(ConfigError, match=r"^QUESTIONS_API_TOKN in \.env is not a setting"):
        load_config()


def test_a_variable_that_resembles_none_gets_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is close, the error says what there is."""
    monkeypatch.setenv("QUESTIONS_ZZZ", "1")

    with pytest.raises(
        ConfigError,
        match=r"^QUESTIONS_ZZZ in the environment is not a setting. There are: BRANCHES_API_PATIENCE, ",
    ):
        load_config()


def test_another_environments_variable_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """One .env can serve all environments."""
    monkeypatch.setenv("QUESTIONS_CONNECT_TIMEOUT", "7")

    assert load_config("sqlite").environment == "sqlite"
    config = load_config("postgres")
    assert isinstance(config, PostgresConfig)
    assert config.connect_timeout == 7


def test_another_programs_variable_is_left_alone(working_directory: Path) -> None:
    """A .env holds other programs' variables too."""
    (working_directory / ".env").write_text("COMPOSE_PROJECT_NAME=x\n")

    assert load_config().environment == "sqlite"


def test_an_unknown_keyword_is_refused() -> None:
    """So is a typing error in code."""
    with pytest.raises(ConfigError, match=r"^SQLiteConfig has no setting 'log_levle'. Did you mean log_level\?$"):
        SQLiteConfig(log_levle="INFO")


def test_an_unknown_key_in_a_file_is_refused(monkeypatch: pytest.MonkeyPatch, working_directory: Path) -> None:
    """The error names the file and the key."""
    (working_directory / "own.toml").write_text('log_levl = "INFO"\n')
    monkeypatch.setenv("QUESTIONS_CONFIG_FILE", "own.toml")

    with pytest.raises(ConfigError, match=r"^own.toml has the unknown key 'log_levl'. Did you mean log_level\?$"):
        load_config()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "QUESTIONS_CONFIG_FILE names 'own.toml', which is not a file. Correct the path, or unset it."),
        (b"log_level: INFO", "own.toml is not a TOML file: "),
        (b"\xff", "own.toml is not a TOML file: "),
    ],
)
def test_a_file_that_was_asked_for_must_be_there_and_be_toml(
    working_directory: Path, content: bytes | None, message: str
) -> None:
    """Asked for in .env as well as in the environment."""
    (working_directory / ".env").write_text("QUESTIONS_CONFIG_FILE=own.toml\n")
    if content is not None:
        (working_directory / "own.toml").write_bytes(content)

    with pytest.raises(ConfigError) as error:
        load_config()

    assert error.value.message.startswith(message)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"log_level": SECRET}, "QUESTIONS_LOG_LEVEL should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'."),
        ({"log_format": SECRET}, "QUESTIONS_LOG_FORMAT should be 'json' or 'text'."),
        ({"max_body_bytes": SECRET}, "QUESTIONS_MAX_BODY_BYTES should be a valid integer"),
        ({"max_body_bytes": 10}, "QUESTIONS_MAX_BODY_BYTES should be greater than or equal to 1024."),
        (
            {"api_token": f"{SECRET} x"},
            "QUESTIONS_API_TOKEN holds characters that a Bearer token cannot have; use letters",
        ),
        ({"api_token": f"{SECRET}é"}, "QUESTIONS_API_TOKEN holds characters that a Bearer token cannot have"),
        ({"api_token": ""}, "QUESTIONS_API_TOKEN holds characters that a Bearer token cannot have"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(keywords: dict[str, Any], message: str) -> None:
    """The error says what the value should be, not what it is."""
    with pytest.raises(ConfigError) as error:
        SQLiteConfig(**keywords)

    assert error.value.message.startswith(message)
    assert SECRET not in error.value.message


def test_no_secret_shows_in_a_representation() -> None:
    """Neither the settings nor the application's config show a password or a token."""
    config = PostgresConfig(database_url=POSTGRES, api_token=SECRET)
    app = create_app(config)

    shown = f"{config!r} {config} {config.url!r} {config.model_dump()} {app.config!r} {app.extensions['questions']!r}"

    assert SECRET not in shown
    assert isinstance(app.config["SQLALCHEMY_DATABASE_URI"], sa.URL)


def test_settings_are_frozen() -> None:
    """They are read once."""
    with pytest.raises(ValueError, match="frozen"):
        SQLiteConfig().log_level = "DEBUG"  # type: ignore[misc]


def test_two_applications_have_databases_of_their_own(working_directory: Path) -> None:
    """The extensions hold no application."""
    one, two = (create_app(SQLiteConfig(database_url=f"sqlite:///{working_directory}/{name}")) for name in ("1", "2"))

    assert one.config["SQLALCHEMY_DATABASE_URI"] != two.config["SQLALCHEMY_DATABASE_URI"]
    assert one.extensions["questions"] is not two.extensions["questions"]


def test_every_variable_is_known() -> None:
    """The list that a misspelt variable is held against has every field of every environment."""
    assert known_variables() == {
        "BRANCHES_API_PATIENCE",
        "BRANCHES_API_TIMEOUT",
        "BRANCHES_BACKEND",
        "DATABASE_URL",
        "NEON_API_HOST",
        "NEON_API_KEY",
        "NEON_BRANCH",
        "NEON_DATABASE",
        "NEON_PROJECT_ID",
        "NEON_ROLE",
        "QUESTIONS_API_TOKEN",
        "QUESTIONS_CONNECT_TIMEOUT",
        "QUESTIONS_LOG_FORMAT",
        "QUESTIONS_LOG_LEVEL",
        "QUESTIONS_MAX_BODY_BYTES",
    }
