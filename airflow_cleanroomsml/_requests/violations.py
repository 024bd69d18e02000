"""Violations of the service model, and the wording of their messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

#: Most violations that a message shows.
_MOST_SHOWN = 50
#: Most names that a message lists.
_MOST_LISTED = 20
#: Comparing a longer text takes long, and it is not a misspelt name: the longest in the models has 56 characters (botocore 1.44.5).
_LONGEST_NAME = 128


@dataclass(frozen=True)
class Violation:
    """
    A violation of the service model.

    :param path: Path of the value in the operator's own spelling, for instance ``output_config.destination.s3Destination.s3Uri``.
    :param problem: What is wrong with the value.
    :param allowed: What is allowed.
    """

    path: str
    problem: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}; {self.allowed}"


def raise_for_violations(title: str, violations: Sequence[Violation]) -> None:
    """
    Raise an error if there are violations.

    :param title: First line of its message.
    :raises InvalidRequestError: With all violations; its message shows the first fifty.
    """
    if not violations:
        return
    # Imported here, because the emulator checks requests, too, and runs without Airflow.
    from airflow_cleanroomsml.exceptions import InvalidRequestError, join_lines

    texts = [str(violation) for violation in violations]
    more = f"… and {len(texts) - _MOST_SHOWN:,} more" if len(texts) > _MOST_SHOWN else ""
    raise InvalidRequestError(join_lines(title, *texts[:_MOST_SHOWN], more), texts)


def suggest_name(name: str, names: Iterable[str], *, most: int = 1) -> str:
    """
    Return a suggestion for a misspelt name, to be appended to a message; empty if no name is similar.

    :param most: Maximum number of names to suggest; the most similar comes first.
    """
    if len(name) > _LONGEST_NAME:
        return ""
    # People also write boto3's snake_case where the API's own spelling is needed, and the other way round.
    given, by_lower = _normalize(name), {_normalize(item): item for item in names}
    matches = [given] if given in by_lower else get_close_matches(given, by_lower, n=most, cutoff=0.7)
    return f" (did you mean {join_alternatives([repr(by_lower[match]) for match in matches])}?)" if matches else ""


def _normalize(name: str) -> str:
    return name.lower().replace("_", "")


def join_path(path: str, name: str) -> str:
    """Append a member to the path of its structure."""
    return f"{path}.{name}" if path else name


def join_alternatives(words: list[str]) -> str:
    """Join words with commas and "or"."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def describe_type(value: Any) -> str:
    """Return the type of a value with its article, for instance "a string"."""
    name = type(value).__name__
    return {"str": "a string", "NoneType": "nothing"}.get(name, f"{'an' if name[0] in 'aeiou' else 'a'} {name}")


def format_names(names: Iterable[str]) -> str:
    """Join names with commas; only the first twenty."""
    items = list(names)
    more = f", … and {len(items) - _MOST_LISTED} more" if len(items) > _MOST_LISTED else ""
    return (", ".join(items[:_MOST_LISTED]) or "none") + more


def count(number: str, unit: str) -> str:
    """Join a number, or a range, and its unit, which is given in the plural."""
    singular = {"entries": "entry"}.get(unit, unit.removesuffix("s"))
    return f"{number} {singular if number == '1' or number.endswith(' 1') else unit}"


def is_within(number: float, low: float | None, high: float | None) -> bool:
    """Whether a number is within bounds; None sets no bound."""
    return (low is None or number >= low) and (high is None or number <= high)


def format_bounds(low: float | None, high: float | None) -> str:
    """Format a range, at least one end of which is known."""
    if low is None:
        return f"at most {high}"
    if low == high:
        return f"{low}"
    return f"at least {low}" if high is None else f"{low} to {high}"
