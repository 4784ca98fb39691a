"""How the application asks Neon: what it has to be told, and what it hands on to its branches."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from flask_branches import ConfigurationError
from questions import ConfigError, NeonConfig, PostgresConfig, create_app
from questions.extensions import branches

if TYPE_CHECKING:
    from pathlib import Path

    from flask_branches.neon_settings import NeonSettings

_BARE = "postgresql://someone:hunter2@127.0.0.1:1/questions"


@pytest.mark.parametrize(
    ("known", "missing"), [("NEON_API_KEY", "NEON_PROJECT_ID"), ("NEON_PROJECT_ID", "NEON_API_KEY")]
)
@pytest.mark.parametrize("by", ["environment", "file"])
def test_a_key_without_a_project_says_which_is_missing(
    monkeypatch: pytest.MonkeyPatch, working_directory: Path, known: str, missing: str, by: str
) -> None:
    """And the other way round; the value of what there is may be a secret."""
    if by == "environment":
        monkeypatch.setenv(known, "hunter2")
        monkeypatch.setenv(missing, "")
    else:
        (working_directory / ".env").write_text(f"{known}=hunter2\n")

    with pytest.raises(
        ConfigError, match=rf"^{missing} is not set, .* Set it too, .* or set DATABASE_URL to"
    ) as raised:
        create_app("neon")

    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(("said", "meant"), [(None, "neon"), ("", "neon"), ("postgres", "postgres")])
def test_branches_are_neon_s_unless_something_else_is_said(
    monkeypatch: pytest.MonkeyPatch, said: str | None, meant: str
) -> None:
    """Beside the key and whatever else Neon is asked with; an empty variable says nothing."""
    monkeypatch.setenv("NEON_API_KEY", "key")
    if said is not None:
        monkeypatch.setenv("BRANCHES_BACKEND", said)

    config = NeonConfig(database_url=_BARE, neon_project_id="old-violet-1")

    assert config.for_branches == {
        "BRANCHES_BACKEND": meant,
        "NEON_API_KEY": SecretStr("key"),
        "NEON_PROJECT_ID": "old-violet-1",
    }
    app = create_app(config)
    assert app.config["BRANCHES_BACKEND"] == meant
    with app.app_context():
        assert branches.config.backend == meant
        assert branches.databases.default.name == meant
        branches.databases.close()


@pytest.mark.parametrize(("said", "seconds"), [("3s", 3), ("", 120), (None, 120)])
@pytest.mark.parametrize("by", ["environment", "file"])
def test_the_database_is_looked_up_with_these_settings_alone(
    monkeypatch: pytest.MonkeyPatch, working_directory: Path, said: str | None, seconds: int, by: str
) -> None:
    """In their order: what a keyword says goes before the environment, and what is empty says nothing."""
    asked: list[NeonSettings] = []

    def database_url(settings: NeonSettings) -> str:
        asked.append(settings)
        return _BARE

    monkeypatch.setattr("flask_branches.neon_lookup.database_url", database_url)
    monkeypatch.setenv("NEON_BRANCH", "of-the-environment")
    if said is not None and by == "environment":
        monkeypatch.setenv("BRANCHES_API_PATIENCE", said)
    elif said is not None:
        (working_directory / ".env").write_text(f"BRANCHES_API_PATIENCE={said}\n")

    NeonConfig(neon_api_key="key", neon_project_id="old-violet-1", neon_branch=None).located()

    assert [(each.access.patience, each.branch) for each in asked] == [(timedelta(seconds=seconds), None)]


def test_by_a_bare_address_no_database_is_made_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tunnel to production looks like any server: without a key its branches are an error, and nobody connects."""

    def fail(*_: object, **__: object) -> None:
        pytest.fail("somebody connected")

    monkeypatch.setattr("psycopg.connect", fail)
    monkeypatch.setattr("psycopg.Connection.connect", fail)
    app = create_app(NeonConfig(database_url=_BARE))

    with app.app_context():
        for act in (branches.create, branches.list, branches.prune):
            with pytest.raises(ConfigurationError, match=r"is to be branched by Neon\. .*set NEON_API_KEY") as raised:
                act()
            assert "hunter2" not in str(raised.value)


def test_a_server_of_one_s_own_has_databases_for_branches() -> None:
    """The rule is the neon environment's."""
    config = PostgresConfig(database_url=_BARE)
    assert config.for_branches == {}
    app = create_app(config)

    with app.app_context():
        assert branches.databases.default.name == "postgres"
        branches.databases.close()
