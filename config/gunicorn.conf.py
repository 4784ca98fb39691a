"""gunicorn's settings: ``gunicorn -c config/gunicorn.conf.py 'questions:create_app("neon")'``.

WEB_CONCURRENCY and WEB_THREADS come from the environment. gunicorn listens on 127.0.0.1:8000, or, where PORT is set, on
that port of every address. GUNICORN_CMD_ARGS overrides anything here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
from gunicorn.errors import AppImportError

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker


def _number(name: str, default: int) -> int:
    value = os.environ.get(name) or str(default)
    if not (value.isascii() and value.isdigit() and int(value) > 0):
        raise SystemExit(f"Error: {name} must be a whole number above 0.")
    return int(value)


worker_class = "gthread"
workers = _number("WEB_CONCURRENCY", 2)
# A thread holds at most one database connection: keep WEB_CONCURRENCY x WEB_THREADS under the server's max_connections.
threads = _number("WEB_THREADS", 4)
timeout = 60
graceful_timeout = 30
keepalive = 5
# Heartbeats are files: in memory, a slow disk cannot make a worker look dead.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112, S108  a folder that gunicorn names files in

# The application logs each request itself, with its id; gunicorn's own events get the same form.
accesslog = None
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"own": {"()": "questions.logs.JSONFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "own"}},
    "root": {"level": "INFO", "handlers": ["stderr"]},
    "loggers": {"gunicorn.error": {"level": "INFO", "handlers": [], "propagate": True}},
}


def post_fork(_server: Arbiter, worker: Worker) -> None:
    """Load the application here, where gunicorn shows what is wrong with its settings as a message and gives up."""
    try:
        worker.app.wsgi()
    except click.ClickException as error:
        raise AppImportError(f"Error: {error.format_message()}") from None
