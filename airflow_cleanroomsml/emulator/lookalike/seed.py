"""Reads seeds: the users for whom similar users are to be found."""

from __future__ import annotations

import json

from airflow_cleanroomsml.emulator.lookalike.clients import S3Client
from airflow_cleanroomsml.emulator.lookalike.failures import Problems, StatusCode
from airflow_cleanroomsml.emulator.lookalike.rules import DataRules
from airflow_cleanroomsml.emulator.lookalike.storage import Location, list_files, read, require_same_region

#: Most malformed lines that a message reports.
_MOST_REPORTED = 3


def read_seed(s3: S3Client, uri: str, rules: DataRules) -> list[str]:
    """
    Read the unique user ids of a seed, in order of appearance.

    A line is ``{"user_id": "…"}``; the id may also be an integer, and other members are ignored, as are blank lines, repeated ids and a
    byte order mark.

    :param uri: S3 URI of an object, or of a prefix with files.
    :param rules: Limits of the number of unique ids.
    :raises JobFailure: The seed does not exist, may not be read, or is empty, malformed, too small or too large; the message lists all
        problems of its content.
    """
    location = Location.parse(uri)
    require_same_region(s3, location)
    files = list_files(s3, location)
    problems = Problems()
    if not files:
        text = f"There is no seed at {location}: neither an object nor files with this prefix."
        problems.add(StatusCode.OBJECT_NOT_FOUND, text)
        problems.raise_if_any()
    # A dict keeps the order, which a set does not.
    ids: dict[str, None] = {}
    errors: list[str] = []
    for file in files:
        name = file.location.key.rpartition("/")[2]
        ids.update(dict.fromkeys(_parse_ids(name, read(s3, file.location), errors)))
    _check_seed(location, len(ids), errors, rules, problems)
    problems.raise_if_any()
    return list(ids)


def _parse_ids(name: str, data: bytes, errors: list[str]) -> list[str]:
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
        except ValueError as error:
            errors.append(f"{name}, line {number:,}: {error}")
    return ids


def _parse_id(line: str) -> str:
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(entry, dict):
        raise ValueError(f"a JSON {type(entry).__name__}, not an object")
    if "user_id" not in entry:
        raise ValueError(f'"user_id" is missing (members: {", ".join(map(repr, entry)) or "none"})')
    value = entry["user_id"]
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ValueError(f'"user_id" is {json.dumps(value)}, not a string or an integer')
    text = str(value)
    # Raises a ValueError for an unpaired surrogate, which is valid JSON but not UTF-8.
    text.encode()
    return text


def _check_seed(location: Location, unique: int, errors: list[str], rules: DataRules, problems: Problems) -> None:
    if errors:
        more = f"; and {len(errors) - _MOST_REPORTED:,} more lines" if len(errors) > _MOST_REPORTED else ""
        details = "; ".join(errors[:_MOST_REPORTED])
        text = f'The seed must be JSON lines such as {{"user_id": "abc"}}. {details}{more}.'
        problems.add(StatusCode.SEED_MALFORMED, text)
    elif not unique:
        text = f"The seed at {location} is empty: at least {rules.min_seed:,} unique user ids are required."
        problems.add(StatusCode.SEED_EMPTY, text)
        return
    if unique < rules.min_seed:
        text = f"The seed has {unique:,} unique user ids; at least {rules.min_seed:,} are required: supply more."
        problems.add(StatusCode.SEED_TOO_SMALL, text)
    if unique > rules.max_seed:
        text = f"The seed has {unique:,} unique user ids; at most {rules.max_seed:,} are allowed: supply fewer."
        problems.add(StatusCode.SEED_TOO_LARGE, text)
