"""
Encodes and decodes single values in the restJson1 protocol, by the traits that the service model gives their shapes.

botocore parses timestamps in any format, but other SDKs only accept the format in the model, so responses must use exactly that one.
"""

from __future__ import annotations

import base64
import json
import math
import re
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

from airflow_cleanroomsml.emulator.errors import ApiError

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)
#: Formats of timestamps without a ``timestampFormat``, by their location (Smithy, AWS restJson1 protocol).
BODY, HEADER, URI = "unixTimestamp", "rfc822", "iso8601"
_FORMATS = {
    "unixTimestamp": "seconds since 1970",
    "rfc822": "an HTTP date, for instance Sun, 01 Nov 2026 00:00:00 GMT",
    "iso8601": "ISO 8601, for instance 2026-11-01T00:00:00Z",
}
_DATE_TIME = re.compile(
    r"(?P<second>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?P<fraction>\.\d+)?(?P<offset>Z|[+-]\d\d:\d\d)", re.ASCII
)
# Bounded, because parsing a number takes quadratic time in its digits.
_INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,300}(?:\.\d{1,300})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def to_json(shape: Any, value: Any) -> Any:
    """Encode a value for a JSON body, without None and without members that the shape does not have."""
    kind = shape.type_name
    if kind == "structure" and not shape.is_document_type:
        members = ((name, member, value.get(name)) for name, member in shape.members.items())
        return {
            get_wire_name(name, member): to_json(member, item) for name, member, item in members if item is not None
        }
    if kind == "list":
        return [to_json(shape.member, item) for item in value]
    if kind == "map":
        return {key: to_json(shape.value, item) for key, item in value.items() if item is not None}
    if kind == "timestamp":
        return _format_timestamp(shape, value, BODY)
    if kind == "blob":
        return _encode(value)
    return _format_float(value) if kind in ("float", "double") else value


def to_header(shape: Any, value: Any) -> str:
    """Encode a value for a header."""
    kind = shape.type_name
    if shape.serialization.get("jsonvalue"):
        return _encode(json.dumps(value).encode())
    if kind == "list":
        return ", ".join(_quote(to_header(shape.member, item)) for item in value)
    if kind == "timestamp":
        return str(_format_timestamp(shape, value, HEADER))
    if kind == "blob":
        return _encode(value)
    if kind == "boolean":
        return "true" if value else "false"
    return str(_format_float(value) if kind in ("float", "double") else value)


def from_json(shape: Any, value: Any, path: str = "") -> Any:
    """
    Decode the timestamps and blobs of a JSON body, and leave all other values to the request check.

    :param path: Path of the value, for errors.
    :raises ApiError: ``ValidationException`` for a malformed timestamp or blob.
    """
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        names = {get_wire_name(name, member): (name, member) for name, member in shape.members.items()}
        decoded = {}
        for key, item in value.items():
            name, member = names.get(key, (key, None))
            decoded[name] = item if member is None else from_json(member, item, f"{path}.{name}" if path else name)
        return decoded
    if kind == "list" and isinstance(value, list):
        return [from_json(shape.member, item, f"{path}[{index}]") for index, item in enumerate(value)]
    if kind == "map" and isinstance(value, dict):
        return {key: from_json(shape.value, item, f"{path}[{key!r}]") for key, item in value.items()}
    if kind == "timestamp" and value is not None:
        return _parse_timestamp(shape, value, BODY, path)
    if kind == "blob" and value is not None:
        return _decode(value, path)
    special = kind in ("float", "double") and isinstance(value, str)
    return _SPECIAL.get(value, value) if special else value


def from_text(shape: Any, text: str, path: str, default_format: str = URI) -> Any:
    """
    Decode a value of a path, a query string or a header. A malformed number or boolean stays text, which the request check rejects.

    :param path: Path of the value, for errors.
    :param default_format: Format of a timestamp without a ``timestampFormat``: :data:`URI` or :data:`HEADER`.
    :raises ApiError: As :func:`from_json`.
    """
    kind = shape.type_name
    if shape.serialization.get("jsonvalue"):
        return json.loads(_decode(text, path))
    if kind == "list":
        return [from_text(shape.member, item, path, default_format) for item in _split(text)]
    if kind == "timestamp":
        is_number = shape.serialization.get("timestampFormat") == "unixTimestamp" and _NUMBER.fullmatch(text)
        return _parse_timestamp(shape, float(text) if is_number else text, default_format, path)
    if kind == "blob":
        return _decode(text, path)
    return _parse_scalar(kind, text)


def get_wire_name(name: str, member: Any) -> str:
    """Return the name of a member in the protocol."""
    wire_name: str = member.serialization.get("name", name)
    return wire_name


def _format_timestamp(shape: Any, value: datetime | float, default: str) -> str | float:
    time = value if isinstance(value, datetime) else _EPOCH + timedelta(seconds=value)
    # AWS sends milliseconds at most; integer arithmetic keeps binary fractions out of the text.
    milliseconds = (time - _EPOCH) // _MILLISECOND
    timestamp_format = shape.serialization.get("timestampFormat", default)
    if timestamp_format == "unixTimestamp":
        return milliseconds // 1000 if milliseconds % 1000 == 0 else milliseconds / 1000
    rounded = _EPOCH + milliseconds * _MILLISECOND
    if timestamp_format == "rfc822":
        return format_datetime(rounded, usegmt=True)
    return rounded.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _parse_timestamp(shape: Any, value: Any, default: str, path: str) -> datetime:
    timestamp_format = shape.serialization.get("timestampFormat", default)
    text = value if isinstance(value, str) else ""
    try:
        if timestamp_format == "unixTimestamp" and isinstance(value, (int, float)) and not isinstance(value, bool):
            return _EPOCH + timedelta(seconds=value)
        if timestamp_format == "rfc822" and text:
            return parsedate_to_datetime(text)
        if timestamp_format == "iso8601" and (match := _DATE_TIME.fullmatch(text)):
            # datetime.fromisoformat() of Python 3.10 only accepts fractions of three or six digits, and no Z.
            seconds = datetime.fromisoformat(match["second"] + match["offset"].replace("Z", "+00:00"))
            return (seconds + timedelta(seconds=float(match["fraction"] or 0))).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        pass
    excerpt = repr(text[:60] if text else value)
    raise _format_error(
        f"{path}: {excerpt} is not a timestamp in the format of the API; allowed: {_FORMATS[timestamp_format]}"
    )


def _parse_scalar(kind: str, text: str) -> Any:
    if kind in ("integer", "long") and _INTEGER.fullmatch(text):
        return int(text)
    if kind in ("float", "double"):
        return float(text) if _NUMBER.fullmatch(text) else _SPECIAL.get(text, text)
    return {"true": True, "false": False}.get(text, text) if kind == "boolean" else text


def _format_float(value: Any) -> Any:
    # JSON has no NaN and no infinity; restJson1 sends them as strings (Smithy, AWS restJson1 protocol).
    if isinstance(value, float) and not math.isfinite(value):
        return next(word for word, number in _SPECIAL.items() if str(number) == str(value))
    return value


def _encode(value: bytes | str) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


def _decode(text: Any, path: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        raise _format_error(f"{path}: the value is not base64") from None


def _format_error(text: str) -> ApiError:
    return ApiError("ValidationException", text, reason="FIELD_VALIDATION_FAILED")


def _quote(text: str) -> str:
    if '"' not in text and "," not in text:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _split(text: str) -> list[str]:
    # Commas separate the items; items that contain commas are quoted (Smithy, httpHeader trait).
    items = re.findall(r'\s*("(?:[^"\\]|\\.)*"|[^,]+)', text)
    return [re.sub(r"\\(.)", r"\1", item[1:-1]) if item.startswith('"') else item.strip() for item in items]
