"""One request to the API and its repeats, under one deadline.

What is repeated, and how long: 423, 429 and 503 say that nothing was done, and a connection that could not be made
never reached anybody; these are tried again whatever was asked. A lost answer (a connection that broke, a time-out,
500, 502, 504, what Cloudflare says in the API's place) leaves open whether the work was done. All that this client
asks may be asked twice, but for a new branch: there the client looks for it before it asks again.

Until anything has answered for the first time, a host that cannot be reached is given up after five seconds: it is far
likelier misspelt than down.
"""

from __future__ import annotations

import importlib.metadata
import logging
import time
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from flask_branches.errors import ConfigurationError, InvalidValue, NeonError
from flask_branches.neon_client.again import TryAgain
from flask_branches.neon_client.answers import Answer, Ask, error, one_line, tell
from flask_branches.neon_client.deadlines import Deadline, retry_after
from flask_branches.tally import REQUESTS, Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2

    from flask_branches.neon_client.access import Access

_T = TypeVar("_T")

REQUEST_ID = "x-neon-ret-request-id"

_BUSY = {HTTPStatus.LOCKED, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
# 520 to 524 are Cloudflare's, which stands before the API and cannot know how far a request has come.
_LOST = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.GATEWAY_TIMEOUT,
    *range(520, 525),
}
_HEEDED = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}

_REACH = 5.0
_SHORTEST = 0.05
_LARGEST_BODY = 32 * 2**20
_UNREACHED = "Correct NEON_API_HOST, or the network or proxy on the way there."
_BROKEN = "Try again later; https://neonstatus.com tells of troubles."
_NOWHERE = logging.NullHandler()
_MISSING = "Neon needs httpx2 and stamina: install them with pip install httpx2 stamina."


class Transport:
    """Sends requests about one project; usable from several threads at once."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._http = _http(access)
        self._base = f"{access.api_host}/projects/{access.project_id}"
        self._key = access.api_key.get_secret_value
        self._sent = Tally(REQUESTS)
        self._has_answered = False

    @property
    def requests(self) -> int:
        """How many requests were sent, repeats included."""
        return self._sent.number

    def deadline(self) -> Deadline:
        """The deadline of a call that begins now."""
        return Deadline(self._access.patience.total_seconds())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(self, ask: Ask, deadline: Deadline) -> dict[str, Any]:
        """Ask what may be asked twice, until it is answered, and return the answer's JSON.

        Raises:
            NeonError: where the API refuses, or there is no patience left.
        """
        return self.repeated(lambda: self.json(ask, self.once(ask, deadline)), deadline)

    def json(self, ask: Ask, answer: Answer) -> dict[str, Any]:
        """The JSON object of an answer.

        Raises:
            NeonError: where there is none.
        """
        found = answer.object()
        if found is None:
            raise error(ask, answer, self._key())
        return found

    def repeated(self, attempt: Callable[[], _T], deadline: Deadline) -> _T:
        """Try until it succeeds, or for as long as there is patience.

        Raises:
            NeonError: where there is none left.
        """
        import stamina

        tries = 0

        def wait(failure: Exception) -> bool | float:
            nonlocal tries
            tries += 1
            return self._wait(failure, deadline, tries)

        try:
            for each in stamina.retry_context(on=wait, attempts=None, timeout=None):
                with each:
                    return attempt()
        except TryAgain as last:
            repeats = stamina.is_active() and not stamina.is_testing()
            raise last.given_up(deadline, repeats=repeats) from None
        raise AssertionError  # pragma: no cover  stamina ends with a return or an exception

    def once(self, ask: Ask, deadline: Deadline) -> Answer:
        """Send a request once.

        Raises:
            TryAgain: where another try may help.
            NeonError: where the API refuses.
        """
        answer = self._send(ask, deadline)
        if answer.is_success:
            return answer
        told = tell(ask, answer, self._key())
        # Nothing but the text tells this one from what never passes: a branch that is still being made or restored.
        is_early = answer.status == HTTPStatus.UNPROCESSABLE_ENTITY and "not ready yet" in told.said
        if not is_early and answer.status not in _BUSY | _LOST:
            raise error(ask, answer, self._key())
        raise TryAgain(
            ask.what,
            f"it last said: {told.said} ({answer.status}, request {told.request_id})",
            told.remedy,
            lost=answer.status in _LOST,
            status=answer.status,
            code=told.code,
            request_id=told.request_id,
            wait=retry_after(answer.headers) if answer.status in _HEEDED else None,
        )

    def _wait(self, failure: Exception, deadline: Deadline, tries: int) -> bool | float:
        """How long to wait before the next try; False for none."""
        if not isinstance(failure, TryAgain):
            return False
        wait = failure.wait or deadline.back_off(tries)
        left = deadline.left
        if failure.is_unreached and not self._has_answered:
            left = min(left, _REACH - deadline.spent)
        return wait if wait < left else False

    def _send(self, ask: Ask, deadline: Deadline) -> Answer:
        import httpx2

        seconds = max(_SHORTEST, min(self._access.timeout.total_seconds(), deadline.left))
        end = time.monotonic() + seconds
        name = str(uuid.uuid4())
        timeout = httpx2.Timeout(seconds, connect=min(seconds, _REACH))
        self._sent.count()
        try:
            with self._http.stream(
                ask.method,
                self._base + ask.path,
                params=ask.params or None,
                json=ask.body,
                headers={"X-Request-ID": name},
                timeout=timeout,
            ) as response:
                self._has_answered = True
                body = _read(response, ask, end, name)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError) as failure:
            raise self._unreached(ask, failure) from None
        except httpx2.TimeoutException:
            raise _lost(ask, f"no answer came within {seconds:.1f} s", name) from None
        except httpx2.RequestError as failure:
            said = one_line(str(failure), self._key()) or type(failure).__name__
            raise _lost(ask, f"the connection broke: {said}", name) from None
        except (httpx2.InvalidURL, UnicodeError):
            raise InvalidValue(
                f"Neon was not asked to {ask.what}: a name in that, or NEON_API_HOST, has characters that cannot be "
                "sent."
            ) from None
        request_id = one_line(response.headers.get(REQUEST_ID), self._key()) or name
        return Answer(response.status_code, request_id, response.headers, body)

    def _unreached(self, ask: Ask, failure: Exception) -> Exception:
        host = urlsplit(self._access.api_host).netloc
        said = one_line(str(failure), self._key()).rstrip(".") or "no connection in time"
        last = f"{host} cannot be reached: {said}"
        if "CERTIFICATE" in said.upper():  # waiting changes no certificate
            return NeonError(f"Neon did not {ask.what}: {last}. {_UNREACHED}")
        return TryAgain(ask.what, last, _UNREACHED, lost=False)


def _lost(ask: Ask, last: str, name: str) -> TryAgain:
    return TryAgain(ask.what, f"{last} (request {name})", _BROKEN, lost=True, request_id=name)


def _read(response: httpx2.Response, ask: Ask, end: float, name: str) -> bytes:
    """Read a body: neither a longer one than any answer is, nor longer than the request may take."""
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > _LARGEST_BODY:
            raise NeonError(
                f"Neon did not {ask.what}: it answered with more than {_LARGEST_BODY // 2**20} MiB. Is NEON_API_HOST "
                "right?",
                status=response.status_code,
            )
        if time.monotonic() > end:
            raise _lost(ask, "the answer did not end in time", name)
    return bytes(body)


def _http(access: Access) -> httpx2.Client:
    try:
        import httpx2
        import stamina  # noqa: F401  told now, not at the first error
    except ImportError:
        raise ConfigurationError(_MISSING) from None
    # stamina tells of every repeat; where nobody has asked for logs, that must not land on a command's stderr.
    logging.getLogger("stamina").addHandler(_NOWHERE)
    headers = {
        "Accept": "application/json",
        "Authorization": f"Bearer {access.api_key.get_secret_value()}",
        "User-Agent": f"flask-branches/{_version()}",
    }
    # A proxy of the environment is for other machines' addresses; it must not see what stays on this one.
    trust = not access.is_local
    try:
        return httpx2.Client(headers=headers, trust_env=trust, follow_redirects=False)
    except (ImportError, OSError, ValueError, httpx2.InvalidURL) as failure:
        raise ConfigurationError(
            f"The proxy or the certificates that the environment names cannot be used ({type(failure).__name__}): "
            "correct HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE or SSL_CERT_DIR."
        ) from None


def _version() -> str:
    try:
        return importlib.metadata.version("questions")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
