"""Seeds: the users whose like is wanted."""

from __future__ import annotations

import json

from airflow_cleanroomsml.emulator.lookalike.clients import S3Client
from airflow_cleanroomsml.emulator.lookalike.failures import Problems, StatusCode
from airflow_cleanroomsml.emulator.lookalike.rules import DataRules
from airflow_cleanroomsml.emulator.lookalike.storage import Location, files, read, require_same_region

_BAD_LINES_TOLD = 3


def read_seed(s3: S3Client, uri: str, rules: DataRules) -> list[str]:
    """
    Read the unique user ids of a seed, in order of appearance.

    A line is ``{"user_id": "…"}``; a whole number stands for its digits, other members are passed over. Blank
    lines, repeated ids and a byte order mark do no harm.

    :param uri: S3 URI of an object, or of a prefix below which all files are read.
    :param rules: How many unique ids are allowed.
    :raises JobFailure: When the seed is missing, closed, empty, malformed, too small or too large; problems
        of content come together.
    """
    location = Location.parse(uri)
    require_same_region(s3, location)
    found = files(s3, location)
    problems = Problems()
    if not found:
        problems.add(StatusCode.OBJECT_NOT_FOUND, f"No seed at {location}: neither an object nor files below it.")
        problems.raise_if_any()
    ids: dict[str, None] = {}
    bad: list[str] = []
    for file in found:
        name = file.location.key.rpartition("/")[2]
        ids.update(dict.fromkeys(_ids(name, read(s3, file.location), bad)))
    _check(location, len(ids), bad, rules, problems)
    problems.raise_if_any()
    return list(ids)


def _ids(name: str, data: bytes, bad: list[str]) -> list[str]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad.append(f"{name}, byte {error.start + 1:,}: not UTF-8 text (plain, uncompressed JSON lines are required)")
        return []
    ids = []
    # str.splitlines would also split at characters that JSON allows within a string
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            ids.append(_id(line))
        except ValueError as error:
            bad.append(f"{name}, line {number:,}: {error}")
    return ids


def _id(line: str) -> str:
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(entry, dict):
        raise ValueError(f"a JSON {type(entry).__name__}, not an object")
    if "user_id" not in entry:
        raise ValueError(f'no "user_id" (found: {", ".join(map(repr, entry)) or "nothing"})')
    value = entry["user_id"]
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ValueError(f'"user_id" is {json.dumps(value)}, not a text or whole number')
    text = str(value)
    # half of a surrogate pair is JSON, but no text that S3 or Arrow could hold
    text.encode()
    return text


def _check(location: Location, unique: int, bad: list[str], rules: DataRules, problems: Problems) -> None:
    if bad:
        more = f"; and {len(bad) - _BAD_LINES_TOLD:,} more lines" if len(bad) > _BAD_LINES_TOLD else ""
        told = "; ".join(bad[:_BAD_LINES_TOLD])
        text = f'The seed must be JSON lines such as {{"user_id": "abc"}}. {told}{more}.'
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
