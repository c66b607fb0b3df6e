"""Where points go: address, organisation and bucket of a server. The token is kept apart and never written anywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from harness.errors import UsageError

URL_VARIABLE = "INFLUXDB_V2_URL"
ORG_VARIABLE = "INFLUXDB_V2_ORG"
BUCKET_VARIABLE = "INFLUXDB_V2_BUCKET"
TOKEN_VARIABLE = "INFLUXDB_V2_TOKEN"
TOKEN_FILE_VARIABLE = "INFLUXDB_V2_TOKEN_FILE"
CA_VARIABLE = "INFLUXDB_V2_SSL_CA_CERT"
DEFAULT_BUCKET = "harness"
MAX_TOKEN_BYTES = 16_384
_MAX_CHARACTERS = 2000


@dataclass(frozen=True)
class Target:
    """One bucket of one server. `url` holds neither user nor password: it is written into results."""

    url: str
    org: str = ""
    """Organisation of InfluxDB 2; other servers need none."""
    bucket: str = DEFAULT_BUCKET
    """Bucket, or database of InfluxDB 1 and 3."""

    def __str__(self) -> str:
        return f"{self.url} (bucket {self.bucket})"

    @property
    def key(self) -> str:
        """Eight hex digits that name the target in file names."""
        return hashlib.sha256("\0".join((self.url, self.org, self.bucket)).encode()).hexdigest()[:8]


def checked_url(text: str) -> str:
    """The address of a server without a slash at its end. ValueError says what is wrong with it."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"not an address ({error})") from None
    if "@" in text:
        # Not repeated in the message: it may hold a password.
        raise ValueError(f"must not hold a user or password; give them in {TOKEN_VARIABLE} or {TOKEN_FILE_VARIABLE}")
    if not text.isprintable() or len(text) > _MAX_CHARACTERS or " " in text:
        raise ValueError("must be printable and without spaces")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("must be http://host:port or https://host:port")
    if parts.query or parts.fragment:
        raise ValueError("must end before '?' and '#'; bucket and organisation are given by themselves")
    return text.rstrip("/")


def checked_name(text: str) -> str:
    """Name of an organisation or bucket. ValueError says what is wrong with it."""
    if not text.isprintable() or len(text) > _MAX_CHARACTERS:
        raise ValueError("must be printable text")
    return text


def make_target(url: str, org: str, bucket: str, source: str) -> Target:
    """A checked target; an empty bucket is DEFAULT_BUCKET. UsageError names `source`, where it was given."""
    try:
        return Target(checked_url(url), checked_name(org), checked_name(bucket) or DEFAULT_BUCKET)
    except ValueError as error:
        raise UsageError(f"{source}: {error}") from None


def find_target(
    option: str | None, settings: tuple[str, str, str], environment: Mapping[str, str], option_name: str = "--influx"
) -> Target | None:
    """The target of a run: the option before the environment before the profile, for each of the three by itself.

    option: URL of the command line; settings: url, org and bucket of a profile, each empty where it is not given.
    None where nobody gave a URL. UsageError names where a wrong value was given.
    """
    url, org, bucket = settings
    org, bucket = environment.get(ORG_VARIABLE) or org, environment.get(BUCKET_VARIABLE) or bucket
    for source, given in (
        (option_name, option),
        (URL_VARIABLE, environment.get(URL_VARIABLE)),
        ("record.influxdb", url),
    ):
        if given:
            return make_target(given, org, bucket, source)
    return None


def read_token(environment: Mapping[str, str]) -> str:
    """The token of the environment, or of the file it names; empty where there is none.

    UsageError for a file that cannot be read or does not hold one printable line; the message holds nothing of it.
    """
    token, source = environment.get(TOKEN_VARIABLE, "").strip(), TOKEN_VARIABLE
    path = environment.get(TOKEN_FILE_VARIABLE, "")
    if not token and path:
        source = f"{TOKEN_FILE_VARIABLE}: {path}"
        try:
            with Path(path).open("rb") as file:
                content = file.read(MAX_TOKEN_BYTES + 1)
            token = content.decode("utf-8").strip() if len(content) <= MAX_TOKEN_BYTES else "\n"
        except UnicodeDecodeError:
            token = "\n"
        except OSError as error:
            raise UsageError(f"{source}: cannot be read ({error.strerror})") from None
        if not token:
            raise UsageError(f"{source}: is empty; it must hold the token in one line")
    if not token.isascii() or not token.isprintable():
        raise UsageError(f"{source}: not a token; it must be one line of printable ASCII")
    return token
