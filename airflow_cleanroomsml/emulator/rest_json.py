"""
Single values on the wire of rest-json, each by the traits that the service model gives its shape.

Botocore's parser takes a timestamp in any spelling; other clients take the one that the model asks for, so what goes out has to be exact.
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
#: The format of a timestamp that has no ``timestampFormat``, by where it stands (Smithy, AWS restJson1 protocol).
BODY, HEADER, URI = "unixTimestamp", "rfc822", "iso8601"
_FORMATS = {
    "unixTimestamp": "seconds since 1970",
    "rfc822": "an HTTP date, for instance Sun, 01 Nov 2026 00:00:00 GMT",
    "iso8601": "ISO 8601, for instance 2026-11-01T00:00:00Z",
}
_DATE_TIME = re.compile(
    r"(?P<second>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?P<fraction>\.\d+)?(?P<offset>Z|[+-]\d\d:\d\d)", re.ASCII
)
_INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,300}(?:\.\d{1,300})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def to_json(shape: Any, value: Any) -> Any:
    """A value for a body; members that the shape does not have, and None, are left out."""
    kind = shape.type_name
    if kind == "structure" and not shape.is_document_type:
        given = ((name, member, value.get(name)) for name, member in shape.members.items())
        return {wire_name(name, member): to_json(member, item) for name, member, item in given if item is not None}
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
    """A value for a header."""
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
    A value of a body, with its timestamps and blobs decoded; all else, of a wrong type too, is left to the request check.

    :param path: Where it stands, for errors.
    :raises ApiError: ``ValidationException`` for a timestamp or a blob that is not spelled as the model says.
    """
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        names = {wire_name(name, member): (name, member) for name, member in shape.members.items()}
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
    A value of a path, a query string or a header; what is no number or boolean stays text, for the request check to refuse.

    :param default_format: Format of a timestamp that has no ``timestampFormat``: :data:`URI` or :data:`HEADER`.
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


def wire_name(name: str, member: Any) -> str:
    """What a member is called on the wire."""
    spelled: str = member.serialization.get("name", name)
    return spelled


def _format_timestamp(shape: Any, value: datetime | float, default: str) -> str | float:
    """A timestamp to the millisecond."""
    time = value if isinstance(value, datetime) else _EPOCH + timedelta(seconds=value)
    milliseconds = (time - _EPOCH) // _MILLISECOND
    spelling = shape.serialization.get("timestampFormat", default)
    if spelling == "unixTimestamp":
        return milliseconds // 1000 if milliseconds % 1000 == 0 else milliseconds / 1000
    exact = _EPOCH + milliseconds * _MILLISECOND
    if spelling == "rfc822":
        return format_datetime(exact, usegmt=True)
    return exact.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _parse_timestamp(shape: Any, value: Any, default: str, path: str) -> datetime:
    spelling = shape.serialization.get("timestampFormat", default)
    text = value if isinstance(value, str) else ""
    try:
        if spelling == "unixTimestamp" and isinstance(value, (int, float)) and not isinstance(value, bool):
            return _EPOCH + timedelta(seconds=value)
        if spelling == "rfc822" and text:
            return parsedate_to_datetime(text)
        if spelling == "iso8601" and (found := _DATE_TIME.fullmatch(text)):
            # Python 3.10 reads fractions of three and six digits only.
            whole = datetime.fromisoformat(found["second"] + found["offset"].replace("Z", "+00:00"))
            return (whole + timedelta(seconds=float(found["fraction"] or 0))).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        pass
    shown = repr(text[:60] if text else value)
    raise _misspelled(f"{path}: {shown} is not a timestamp in the format of the API; allowed: {_FORMATS[spelling]}")


def _parse_scalar(kind: str, text: str) -> Any:
    if kind in ("integer", "long") and _INTEGER.fullmatch(text):
        return int(text)
    if kind in ("float", "double"):
        return float(text) if _NUMBER.fullmatch(text) else _SPECIAL.get(text, text)
    return {"true": True, "false": False}.get(text, text) if kind == "boolean" else text


def _format_float(value: Any) -> Any:
    """JSON has no word for infinity; rest-json writes these three as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return next(word for word, number in _SPECIAL.items() if str(number) == str(value))
    return value


def _encode(value: bytes | str) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


def _decode(text: Any, path: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        raise _misspelled(f"{path}: the value is not base64") from None


def _misspelled(text: str) -> ApiError:
    return ApiError("ValidationException", text, reason="FIELD_VALIDATION_FAILED")


def _quote(text: str) -> str:
    if '"' not in text and "," not in text:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _split(text: str) -> list[str]:
    """The items of a list in a header."""
    items = re.findall(r'\s*("(?:[^"\\]|\\.)*"|[^,]+)', text)
    return [re.sub(r"\\(.)", r"\1", item[1:-1]) if item.startswith('"') else item.strip() for item in items]
