"""Questions: a small Flask service, tested on a copy of production as easily as on SQLite."""

from questions.config import Config, NeonConfig, PostgresConfig, SQLiteConfig
from questions.factory import create_app
from questions.settings_files import ConfigError

__all__ = ["Config", "ConfigError", "NeonConfig", "PostgresConfig", "SQLiteConfig", "create_app"]
