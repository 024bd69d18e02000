"""
Refuses requests that must not reach the emulator, before anything reads them.

The emulator authenticates nobody, so it must not serve web pages: any page in a browser on this machine can send requests to it, and reads
the answers too where its own host name resolves to the emulator's address (DNS rebinding). Command-line clients and SDKs send neither
``Origin`` nor ``Sec-Fetch-Site``, and a name of this machine as ``Host``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from io import RawIOBase
from typing import Any
from urllib.parse import urlsplit

from werkzeug.exceptions import RequestEntityTooLarge

from airflow_cleanroomsml.emulator.errors import ApiError

#: Bytes of a request of Clean Rooms, Clean Rooms ML or the emulator's own paths. The longest that their models allow, SQL of 500,000
#: characters with a thousand parameters, has 1.7 million characters, each of at most six bytes in JSON.
SERVICE_BODY = 10 << 20
#: Bytes of a request of any other service. Uploads to S3 above it have to be multipart uploads; moto holds a part in memory.
MOTO_BODY = 1 << 30

_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]@/]+\]|[^\[\]:@/]+)(:\d{1,5})?")
_NAME = re.compile(r"\w([\w.-]*\w)?", re.ASCII)
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class RequestGuard:
    """
    What a request has to be like.

    :param host: Address or name that the server listens at.
    :param allowed_hosts: Further names and addresses that clients call it by; names below an allowed name are allowed as well.
    :raises ValueError: One of them is neither a host name nor an IP address.
    """

    def __init__(self, host: str = "127.0.0.1", allowed_hosts: Iterable[str] = ()) -> None:
        hosts = [host, *map(host_name, allowed_hosts)]
        self._addresses = {address for address in map(_address, hosts) if address is not None}
        self._names = ("localhost", *(name.lower() for name in hosts if name and _address(name) is None))
        # Whoever binds to all addresses may be called by any of them, and addresses cannot be rebound.
        self._any_address = not host or any(address.is_unspecified for address in self._addresses)

    def check(self, environ: Mapping[str, Any]) -> None:
        """
        Refuse a request by its headers.

        :raises ApiError: 403.
        """
        host = environ.get("HTTP_HOST")
        # HTTP/1.0 asks for no Host, and no browser leaves it out.
        if host is not None and not self.allows_host(host):
            raise ApiError(
                "ForbiddenHostException",
                f"The host {host!r} is not allowed: call the emulator by localhost, a loopback address or the address it listens at, "
                "or start it with --allowed-host NAME.",
                status=403,
            )
        if not _is_same_origin(environ):
            raise ApiError(
                "ForbiddenOriginException",
                "Requests from pages of another origin are not allowed; a client that is no browser sends no Origin, Referer or "
                "Sec-Fetch-Site.",
                status=403,
            )

    def allows_host(self, authority: str) -> bool:
        """
        Return whether clients may call it so.

        :param authority: Value of ``Host``, with or without a port. Any port is allowed, since ports are forwarded.
        """
        match = _AUTHORITY.fullmatch(authority)
        name = match["host"].lower().removesuffix(".") if match else ""
        address = _address(name)
        if address is not None:
            return address.is_loopback or self._any_address or address in self._addresses
        # S3 clients put the bucket before the name, and S3 Control the account.
        return _NAME.fullmatch(name) is not None and any(f".{name}".endswith(f".{own}") for own in self._names)


def host_name(text: str) -> str:
    """
    Return a host name or IP address as it is.

    :raises ValueError: It is neither.
    """
    if _NAME.fullmatch(text) or ("[" not in text and _address(text) is not None):
        return text
    raise ValueError(f"{text!r} is not a host name or IP address: give the name alone, such as 'emulator'")


def _address(text: str) -> _Address | None:
    try:
        found = ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _is_same_origin(environ: Mapping[str, Any]) -> bool:
    """Whether it comes from no web page, or from one of the emulator's own, such as moto's dashboard."""
    if environ.get("HTTP_SEC_FETCH_SITE", "none") not in ("none", "same-origin"):
        return False
    # Older browsers send no Sec-Fetch-Site, and no browser sends Origin with a GET that needs no preflight.
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
    Refuse a body that is too large by its length; let reading fail where one without a length becomes too large.

    :raises ApiError: 413, or 400 for a length that is not a number.
    """
    length = environ.get("CONTENT_LENGTH") or "0"
    if not (length.isascii() and length.isdigit()):
        raise ApiError("InvalidRequestException", f"Content-Length {length!r} is not a number of bytes.", status=400)
    if len(length) > len(str(limit)) or int(length) > limit:
        raise too_large(limit)
    if "wsgi.input_terminated" in environ:
        environ["wsgi.input"] = _Bounded(environ["wsgi.input"], limit)


def too_large(limit: int) -> ApiError:
    """The body has more bytes than this."""
    text = f"The body of the request has more than {limit:,} bytes; upload larger objects to S3 in parts."
    return ApiError("RequestEntityTooLargeException", text, status=413)


class _Bounded(RawIOBase):
    """A body of unknown length, which cannot be read beyond a bound."""

    def __init__(self, body: Any, limit: int) -> None:
        self._body = body
        self._left = limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._body.read(min(len(buffer), self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise RequestEntityTooLarge
        buffer[: len(data)] = data
        return len(data)
