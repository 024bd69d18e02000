"""
Rejects requests that must not reach the emulator, before anything reads them.

The emulator does not authenticate its callers, so it must not serve web pages: any page in a browser on this machine can send requests to
it, and can read the responses if the page's host name resolves to the emulator's address (DNS rebinding). Command-line clients and SDKs
send neither ``Origin`` nor ``Sec-Fetch-Site``, and their ``Host`` names this machine.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from io import RawIOBase
from typing import Any
from urllib.parse import urlsplit

from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from airflow_cleanroomsml.emulator.errors import ApiError

#: Maximum bytes of a request to Clean Rooms, Clean Rooms ML or the admin API. The longest that their models allow, SQL of 500,000
#: characters with a thousand parameters, has 1.7 million characters, each of at most six bytes in JSON (\uXXXX).
SERVICE_BODY = 10 << 20
#: Maximum bytes of a request to any other service; larger uploads to S3 must be multipart. moto holds each part in memory.
MOTO_BODY = 1 << 30

_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]@/]+\]|[^\[\]:@/]+)(:\d{1,5})?")
_NAME = re.compile(r"\w([\w.-]*\w)?", re.ASCII)
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class RequestGuard:
    """
    Checks the headers of requests.

    :param host: Address or name that the server listens on.
    :param allowed_hosts: Further names and addresses that clients may use, and subdomains of these names.
    :raises ValueError: One of them is neither a host name nor an IP address.
    """

    def __init__(self, host: str = "127.0.0.1", allowed_hosts: Iterable[str] = ()) -> None:
        hosts = [host, *map(validate_host_name, allowed_hosts)]
        self._addresses = {address for address in map(_parse_address, hosts) if address is not None}
        self._names = ("localhost", *(name.lower() for name in hosts if name and _parse_address(name) is None))
        # A server bound to all addresses may be called by any of them. DNS rebinding needs a name, so addresses are safe.
        self._any_address = not host or any(address.is_unspecified for address in self._addresses)

    def check(self, environ: Mapping[str, Any]) -> None:
        """
        Reject a request from an unknown host or from a web page.

        :raises ApiError: With status 403.
        """
        host = environ.get("HTTP_HOST")
        # HTTP/1.0 does not require a Host header; browsers always send it.
        if host is not None and not self.allows_host(host):
            raise ApiError(
                "ForbiddenHostException",
                f"The host {host!r} is not allowed. Use localhost, a loopback address or the address the emulator listens on, "
                "or start it with --allowed-host NAME.",
                status=403,
            )
        if not _is_same_origin(environ):
            raise ApiError(
                "ForbiddenOriginException",
                "Requests from web pages of another origin are not allowed. Clients other than browsers must not send Origin, Referer "
                "or Sec-Fetch-Site.",
                status=403,
            )

    def allows_host(self, authority: str) -> bool:
        """
        Return whether clients may use a host.

        :param authority: Value of ``Host``, with or without a port. Any port is allowed, because Docker and ssh forward ports.
        """
        match = _AUTHORITY.fullmatch(authority)
        # A trailing dot only makes the name absolute: it is the same host.
        name = match["host"].lower().removesuffix(".") if match else ""
        address = _parse_address(name)
        if address is not None:
            return address.is_loopback or self._any_address or address in self._addresses
        # S3 clients prepend the bucket to the host name, and clients of S3 Control the account.
        return _NAME.fullmatch(name) is not None and any(f".{name}".endswith(f".{own}") for own in self._names)


def validate_host_name(text: str) -> str:
    """
    Return a host name or IP address unchanged.

    :raises ValueError: The text is neither.
    """
    if _NAME.fullmatch(text) or ("[" not in text and _parse_address(text) is not None):
        return text
    raise ValueError(f"{text!r} is not a host name or IP address; must be a bare name, such as 'emulator'")


def _parse_address(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    # ::ffff:127.0.0.1 is 127.0.0.1, in the notation of IPv6.
    return getattr(address, "ipv4_mapped", None) or address


def _is_same_origin(environ: Mapping[str, Any]) -> bool:
    """Return whether a request comes from no web page, or from one that the emulator serves, such as moto's dashboard."""
    if environ.get("HTTP_SEC_FETCH_SITE", "none") not in ("none", "same-origin"):
        return False
    # Browsers before 2023 may not send Sec-Fetch-Site (Safari 16.4), and none sends Origin with a GET that needs no preflight.
    origin = environ.get("HTTP_ORIGIN", environ.get("HTTP_REFERER") or None)
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == environ.get("HTTP_HOST", "").lower()


def limit_body(environ: dict[str, Any], limit: int) -> None:
    """
    Reject a body whose length exceeds the limit; a body without a length fails once more than that has been read.

    :param limit: Maximum size in bytes.
    :raises ApiError: With status 413, or 400 for a length that is not a number.
    """
    length = environ.get("CONTENT_LENGTH") or "0"
    if not (length.isascii() and length.isdigit()):
        raise ApiError("InvalidRequestException", f"Content-Length {length!r} is not a number of bytes.", status=400)
    # int() of a very long text is slow, and from Python 3.11 on an error.
    if len(length) > len(str(limit)) or int(length) > limit:
        raise body_too_large_error(limit)
    # werkzeug sets this for a chunked body, which has no Content-Length but marks its own end.
    if "wsgi.input_terminated" in environ:
        environ["wsgi.input"] = _Bounded(environ["wsgi.input"], limit)


def body_too_large_error(limit: int) -> ApiError:
    """Build the error for a body that exceeds the limit."""
    advice = " Use a multipart upload for larger objects in S3." if limit == MOTO_BODY else ""
    return ApiError(
        "RequestEntityTooLargeException", f"The body of the request exceeds {limit:,} bytes.{advice}", status=413
    )


class _Bounded(RawIOBase):
    """A body of unknown length, whose reads fail beyond a limit."""

    def __init__(self, body: Any, limit: int) -> None:
        self._body = body
        self._remaining = limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        # One byte more than is allowed, to distinguish a body of exactly the limit from a larger one.
        try:
            data = self._body.read(min(len(buffer), self._remaining + 1))
        # werkzeug raises these for a chunk whose length is not a number, or that ends too early.
        except (OSError, ValueError):
            raise BadRequest from None
        self._remaining -= len(data)
        if self._remaining < 0:
            raise RequestEntityTooLarge
        buffer[: len(data)] = data
        return len(data)
