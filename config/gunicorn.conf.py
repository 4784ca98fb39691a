"""gunicorn's settings: ``gunicorn -c config/gunicorn.conf.py 'questions:create_app("neon")'``.

WEB_CONCURRENCY, WEB_THREADS, PORT and the format of the logs come from the process environment. gunicorn listens on
127.0.0.1:8000, or, where PORT is set, on that port of every address. GUNICORN_CMD_ARGS overrides anything here.
"""

from __future__ import annotations

import os

import click
from gunicorn.arbiter import Arbiter

from questions.logs import FORMATTERS, JSONFormatter


def _number(name: str, default: int, most: int = 65_535) -> int:
    value = os.environ.get(name) or str(default)
    if not (value.isascii() and value.isdigit() and 0 < int(value) <= most):
        raise SystemExit(f"Error: {name} must be a whole number from 1 to {most}.")
    return int(value)


bind = f"0.0.0.0:{_number('PORT', 8000)}" if os.environ.get("PORT") else "127.0.0.1:8000"
# Since version 25 it would open a socket of commands under the home folder, one for all services of the account.
control_socket_disable = True
worker_class = "gthread"
workers = _number("WEB_CONCURRENCY", 2, most=1_000)
# A thread holds at most one database connection: keep WEB_CONCURRENCY x WEB_THREADS under the server's max_connections.
threads = _number("WEB_THREADS", 4, most=1_000)
timeout = 60
graceful_timeout = 30
keepalive = 5
# Heartbeats are files: in memory, a slow disk cannot make a worker look dead.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108  gunicorn names files there

# The application logs each request itself, with its id; gunicorn's own events get the same form. An unknown one is for
# the application to refuse.
accesslog = None
_formatter = FORMATTERS.get(os.environ.get("QUESTIONS_LOG_FORMAT", ""), JSONFormatter)
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"own": {"()": _formatter}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "own"}},
    "root": {"level": "WARNING", "handlers": ["stderr"]},
    "loggers": {"gunicorn.error": {"level": "INFO", "handlers": [], "propagate": True}},
}


def on_starting(server: Arbiter) -> None:
    """Refuse wrong settings once, as a message, before there are workers that would each fail with a traceback.

    The application is tried in a process of its own, so that the workers share nothing that it opens. SIGHUP gives them
    new settings, no new code, and without this trial: settings that are wrong by then end gunicorn.
    """
    trial = os.fork()
    if trial == 0:
        os._exit(_status_of_loading(server))
    _, status = os.waitpid(trial, 0)
    if os.waitstatus_to_exitcode(status) == Arbiter.APP_LOAD_ERROR:
        raise SystemExit(Arbiter.APP_LOAD_ERROR)


def _status_of_loading(server: Arbiter) -> int:
    """What else goes wrong is left for the workers to report: it is no matter of settings."""
    try:
        server.app.wsgi()
    except click.ClickException as error:
        click.echo(f"Error: {error.format_message()}", err=True)
        return int(Arbiter.APP_LOAD_ERROR)
    except BaseException as error:  # noqa: BLE001  nothing may get past the fork into the master's own code
        server.log.debug("the trial failed: %r", error)
    return 0
