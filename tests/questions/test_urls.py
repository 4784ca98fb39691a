"""The database's URL: how it may be written, and what Neon's needs."""

from __future__ import annotations

import pytest

from questions import Config, ConfigError, NeonConfig, PostgresConfig, SQLiteConfig, create_app

SECRET = "hunter2-and-more"
POSTGRES = f"postgresql://someone:{SECRET}@db.example/questions"
NEON = f"postgresql://someone:{SECRET}@ep-cool-sea-123456.eu-central-1.aws.neon.tech/questions"
POOLED = NEON.replace("123456.", "123456-pooler.")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_way_to_write_a_postgres_url_means_psycopg(scheme: str) -> None:
    """postgres:// is what many hosts hand out, and SQLAlchemy does not know it."""
    url = PostgresConfig(database_url=POSTGRES.replace("postgresql", scheme, 1)).url

    assert url is not None
    assert (url.drivername, url.password, url.host) == ("postgresql+psycopg", SECRET, "db.example")


@pytest.mark.parametrize(
    ("config", "url", "message"),
    [
        (SQLiteConfig, POSTGRES, "is a postgresql URL where this environment needs sqlite; write it as sqlite:///"),
        (
            PostgresConfig,
            "sqlite:///x",
            "is a sqlite URL where this environment needs postgresql; write it as postgresql://",
        ),
        (PostgresConfig, f"mysql://x:{SECRET}@h/d", "is a mysql URL where this environment needs postgresql"),
        (PostgresConfig, POSTGRES.replace("ql:", "ql+psycopg2:"), "is a postgresql+psycopg2 URL where"),
        (PostgresConfig, SECRET, "is not a database URL; write it as postgresql://user:password@host/database"),
        (PostgresConfig, f"postgresql://x:{SECRET}@h:port/d", "is not a database URL; write it as"),
        (
            PostgresConfig,
            f"{POSTGRES}?pgbouncer=true",
            "has the option 'pgbouncer', which is none of libpq's; leave it",
        ),
        (
            NeonConfig,
            f"{NEON}?sslmode=disable",
            "has an sslmode that allows an unencrypted connection; write sslmode=require",
        ),
        (NeonConfig, f"{NEON}?sslmode=prefer", "has an sslmode that allows an unencrypted connection"),
    ],
)
@pytest.mark.parametrize("by", ["keyword", "environment"])
def test_a_url_that_cannot_be_used_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, config: type[Config], url: str, message: str, by: str
) -> None:
    """The error names DATABASE_URL and how to write it; the URL holds a password."""
    if by == "environment":
        monkeypatch.setenv("DATABASE_URL", url)

    with pytest.raises(ConfigError) as error:
        config(**{"database_url": url} if by == "keyword" else {})

    assert error.value.message.startswith(f"DATABASE_URL {message}")
    assert SECRET not in repr(error.value) + str(error.value.__context__)


def test_neon_needs_a_branch() -> None:
    """Nothing can stand in for one, and the error says what to set."""
    with pytest.raises(
        ConfigError, match=r"^DATABASE_URL is not set, .* Set it to the connection string of a Neon branch"
    ):
        create_app("neon")


def test_neon_connections_are_encrypted_and_patient() -> None:
    """TLS is required where the URL says nothing, kept where it says more, and a cold start is waited for."""
    config = NeonConfig(database_url=NEON)

    assert config.url is not None
    assert config.url.query == {"sslmode": "require"}
    assert config.engine_options["pool_pre_ping"] is True
    assert config.engine_options["connect_args"]["connect_timeout"] == 30
    assert "prepare_threshold" not in config.engine_options["connect_args"]
    strict = NeonConfig(database_url=f"{NEON}?sslmode=verify-full&channel_binding=require").url
    assert strict is not None
    assert strict.query == {"sslmode": "verify-full", "channel_binding": "require"}


@pytest.mark.parametrize(
    "place",
    [
        "localhost/d",
        "127.0.0.1:54321/d",
        "127.9.9.9/d",
        "[::1]/d",
        "/d?host=/run/postgresql",
        "/d?host=@abstract",
        "/d?host=127.0.0.1:5433&host=localhost:5434",
        "localhost/d?hostaddr=::1",
    ],
)
def test_neon_on_loopback_may_go_without_tls(place: str) -> None:
    """A local stand-in has no certificate."""
    url = NeonConfig(database_url=f"postgresql://someone@{place}").url

    assert url is not None
    assert "sslmode" not in url.query


@pytest.mark.parametrize(
    "place",
    [
        "localhost/d?host=remote.example",
        "localhost/d?hostaddr=203.0.113.9",
        "/d?host=/tmp,remote.example",
        "/d?host=localhost:5432&host=remote.example:5432",
        "localhost.example/d",
        "/d",
    ],
)
def test_neon_needs_tls_wherever_a_host_may_be_elsewhere(place: str) -> None:
    """The driver takes hosts from the query first, several at once, and from PGHOST where none is named."""
    url = NeonConfig(database_url=f"postgresql://someone@{place}").url

    assert url is not None
    assert url.query["sslmode"] == "require"


def test_what_the_url_says_goes_before_the_settings() -> None:
    """An option in the URL is the more particular one."""
    config = PostgresConfig(database_url=f"{POSTGRES}?connect_timeout=17&application_name=mine", connect_timeout=9)

    assert config.engine_options["connect_args"] == {"tcp_user_timeout": 9_000}


def test_a_pooler_is_found_in_the_query_too() -> None:
    """Wherever the host stands."""
    host = "ep-cool-sea-123456-pooler.eu-central-1.aws.neon.tech"
    config = NeonConfig(database_url=f"postgresql://someone@/questions?host={host}")

    assert config.engine_options["connect_args"]["prepare_threshold"] is None
    assert config.url is not None
    assert config.migration_url(config.url).query["host"] == host.replace("-pooler", "")


def test_through_a_pooler_nothing_is_prepared_and_nothing_is_migrated() -> None:
    """A transaction pooler has no sessions: migrations take the direct host, requests prepare no statement."""
    config = NeonConfig(database_url=POOLED)

    assert config.engine_options["connect_args"]["prepare_threshold"] is None
    assert config.url is not None
    assert config.url.host == "ep-cool-sea-123456-pooler.eu-central-1.aws.neon.tech"
    direct = config.url.set(host="ep-cool-sea-123456.eu-central-1.aws.neon.tech")
    assert config.migration_url(config.url) == config.migration_url(direct) == direct
