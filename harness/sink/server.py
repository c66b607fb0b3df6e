"""One InfluxDB server, through its own client's synchronous calls: InfluxDB 1, 2 and 3 and what speaks their protocol.

Lines go to /api/v2/write, which InfluxDB 1 has from 1.8 and 3 keeps; older servers get them at /write. Timestamps are
always ns. The client's batching mode is not used: it gives up points without telling the caller.
"""

from __future__ import annotations

import base64
import gzip
import re
from typing import Any, NamedTuple

import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException

from harness.sink.reply import Refused, Unavailable, judged, reason_of
from harness.sink.target import ORG_VARIABLE, Target

CONNECT_S = 5.0
ANSWER_S = 15.0
_VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})")
_GZIP_LEVEL = 3
_SECRET_CHARACTERS = 4
"""A token shorter than this is not looked for in texts: it would take ordinary words out of them."""


class Endpoint(NamedTuple):
    """Where lines are written."""

    path: str
    query: tuple[tuple[str, str], ...]


def endpoint_for(version: str | None, target: Target) -> Endpoint:
    """By the version the server tells of itself; one that does not is taken for one with the present protocol.

    Refused for InfluxDB 2 without an organisation, which it would answer like a bad line.
    """
    match = _VERSION.match(version or "")
    major, minor = (int(match[1]), int(match[2])) if match else (0, 0)
    if match and (major, minor) < (1, 8):
        return Endpoint("/write", (("db", target.bucket), ("precision", "ns")))
    if major == 2 and not target.org:
        raise Refused(f"InfluxDB {version} needs an organisation; give it in {ORG_VARIABLE}")
    return Endpoint("/api/v2/write", (("org", target.org), ("bucket", target.bucket), ("precision", "ns")))


class InfluxServer:
    """A connection to a target. Every call ends within CONNECT_S + ANSWER_S of silence."""

    def __init__(
        self, target: Target, token: str, ca_file: str | None = None, timeouts_s: tuple[float, float] | None = None
    ) -> None:
        connect_s, answer_s = timeouts_s or (CONNECT_S, ANSWER_S)
        self._target, self._token = target, token
        self._endpoint: Endpoint | None = None
        client = InfluxDBClient(
            url=target.url,
            token=token,
            org=target.org,
            timeout=(round(connect_s * 1000), round(answer_s * 1000)),
            ssl_ca_cert=ca_file or None,
        )
        self._client: Any = client
        self._api: Any = client.api_client

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def write(self, lines: bytes) -> None:
        """Store complete lines. Rejected, Unavailable or Refused (see harness.sink.reply) when it does not say so."""
        endpoint = self._endpoint or self._find_endpoint()
        headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"}
        body = gzip.compress(lines, _GZIP_LEVEL, mtime=0)
        status, text, answer = self._call("POST", endpoint.path, list(endpoint.query), headers, body)
        error = judged(status, self._without_token(text), answer.get("Retry-After"))
        if error is not None:
            if status == 404:
                self._endpoint = None  # another version may answer there after a restart
            raise error

    def _find_endpoint(self) -> Endpoint:
        status, text, answer = self._call("GET", "/ping", [], {}, None)
        if status == 0 or status >= 500:
            raise Unavailable(reason_of(self._without_token(text)) or f"no answer to /ping (HTTP {status})")
        version = answer.get("X-Influxdb-Version")
        self._endpoint = endpoint_for(version, self._target)
        if self._endpoint.path == "/write" and self._token:
            # It knows users and passwords, not tokens.
            credentials = base64.b64encode(self._token.encode()).decode()
            self._api.set_default_header("Authorization", f"Basic {credentials}")
        return self._endpoint

    def _call(
        self, method: str, path: str, query: list[tuple[str, str]], headers: dict[str, str], body: bytes | None
    ) -> tuple[int, str, Any]:
        """(status, body, headers) whatever the status; status 0 and the reason where there was no answer."""
        try:
            _, status, answer = self._api.call_api(
                path,
                method,
                query_params=query,
                header_params=headers,
                body=body,
                _return_http_data_only=False,
                # A redirect may lead anywhere; it is an answer other than 204, and shown.
                urlopen_kw={"redirect": False},
            )
        except ApiException as error:
            text = error.body if isinstance(error.body, str) and error.body else str(error.reason or "")
            return int(error.status or 0), text, error.headers or {}
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            return 0, _shortened(error), {}
        return int(status), "" if status == 204 else "not the answer of an InfluxDB server", answer

    def _without_token(self, text: str) -> str:
        for secret in (self._token, *self._token.split(":")):
            if len(secret) >= _SECRET_CHARACTERS:
                text = text.replace(secret, "<token>")
        return text


def _shortened(error: Exception) -> str:
    """The innermost reason: the client's own messages hold addresses of objects."""
    cause: BaseException = getattr(error, "reason", None) or error
    while isinstance(cause, BaseException) and cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, TimeoutError | urllib3.exceptions.TimeoutError):
        return "no answer in time"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return type(cause).__name__ if " object at 0x" in str(cause) else str(cause)
