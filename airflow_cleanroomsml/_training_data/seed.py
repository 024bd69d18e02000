"""Reads seeds: the users for whom similar users are to be found."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from airflow_cleanroomsml._training_data.clients import S3Client
from airflow_cleanroomsml._training_data.json_types import describe_json_type
from airflow_cleanroomsml._training_data.limits import DataRules
from airflow_cleanroomsml._training_data.rules import Findings, InvalidDataError, Rule
from airflow_cleanroomsml._training_data.storage import Location, find_archived, list_files, read, require_same_region

#: Most malformed lines that a finding reports.
_MOST_REPORTED = 3
_MEBIBYTE = 1024**2
_LARGE_REMEDY = (
    "correct the location if it has other files, or remove all members except user_id; "
    "at most {limit:,} ids are allowed"
)


@dataclass(frozen=True)
class Seed:
    """
    A seed.

    :param ids: Unique user ids, in order of appearance.
    :param lines: Lines with a user id.
    """

    ids: tuple[str, ...]
    lines: int


class _LineError(ValueError):
    """
    A line that has no user id.

    :param text: What is wrong, without values of the data.
    :param quoting: The same, with values.
    """

    def __init__(self, text: str, quoting: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.quoting = quoting or text


def read_seed(
    s3: S3Client,
    uri: str,
    rules: DataRules,
    findings: Findings,
    *,
    max_bytes: float = math.inf,
    may_quote: bool = False,
) -> Seed:
    """
    Read the unique user ids of a seed.

    A line is ``{"user_id": "…"}``; the id may also be an integer, and other members are ignored, as are blank lines, repeated ids and a
    byte order mark.

    :param uri: S3 URI of an object, or of a prefix with files.
    :param rules: Limits of the number of unique ids.
    :param findings: Collects findings about its content.
    :param max_bytes: Size of all files above which none is read.
    :param may_quote: Whether findings may quote lines.
    :raises InvalidDataError: The seed does not exist, may not be read, or is too large to be read, which is only a warning.
    """
    location = Location.parse(uri, "The seed")
    require_same_region(s3, location)
    files = list_files(s3, location, max_bytes=max_bytes)
    if not files:
        raise InvalidDataError(Rule.SEED_NOT_FOUND.build("s3Uri", location=location))
    if sum(file.size for file in files) > max_bytes:
        values = {
            "subject": f"The seed at {location}",
            "reason": f"its files total more than {max_bytes / _MEBIBYTE:,.0f} MiB",
        }
        raise InvalidDataError(
            Rule.NOT_CHECKED.build("s3Uri", **values, remedy=_LARGE_REMEDY.format(limit=rules.max_seed))
        )
    if archived := find_archived(s3, files):
        raise InvalidDataError(archived)
    # A dict keeps the order, which a set does not.
    ids: dict[str, None] = {}
    errors: list[str] = []
    lines = 0
    for file in files:
        name = file.location.key.rpartition("/")[2]
        found = _parse_ids(name, read(s3, file.location), errors, may_quote=may_quote)
        lines += len(found)
        ids.update(dict.fromkeys(found))
    _check_seed(location, len(ids), errors, rules, findings)
    return Seed(tuple(ids), lines)


def _parse_ids(name: str, data: bytes, errors: list[str], *, may_quote: bool) -> list[str]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        errors.append(f"{name}, byte {error.start + 1:,}: not UTF-8 (uncompressed JSON lines are required)")
        return []
    ids = []
    # str.splitlines() would also split at characters that JSON allows in a string, such as U+2028.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            ids.append(_parse_id(line))
        except _LineError as error:
            errors.append(f"{name}, line {number:,}: {error.quoting if may_quote else error.text}")
    return ids


def _parse_id(line: str) -> str:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _LineError("not JSON", f"not JSON ({error})") from error
    if not isinstance(entry, dict):
        raise _LineError(f"{describe_json_type(entry)}, not an object")
    if "user_id" not in entry:
        names = ", ".join(map(repr, entry)) or "none"
        raise _LineError('"user_id" is missing', f'"user_id" is missing (members: {names})')
    value = entry["user_id"]
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        text = "must be an integer or a string that is not empty"
        raise _LineError(f'"user_id" {text}', f'"user_id" is {json.dumps(value)}; {text}')
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        # An unpaired surrogate is valid JSON, but not UTF-8.
        raise _LineError('"user_id" is not valid Unicode') from error
    return text


def _check_seed(location: Location, unique: int, errors: list[str], rules: DataRules, findings: Findings) -> None:
    if errors:
        more = f"; and {len(errors) - _MOST_REPORTED:,} more lines" if len(errors) > _MOST_REPORTED else ""
        findings.add(Rule.SEED_MALFORMED.build("s3Uri", details="; ".join(errors[:_MOST_REPORTED]) + more))
    elif not unique:
        findings.add(Rule.SEED_EMPTY.build("s3Uri", location=location, limit=rules.min_seed))
        return
    if unique < rules.min_seed:
        findings.add(Rule.SEED_TOO_SMALL.build("s3Uri", count=unique, limit=rules.min_seed))
    if unique > rules.max_seed:
        findings.add(Rule.SEED_TOO_LARGE.build("s3Uri", count=unique, limit=rules.max_seed))
