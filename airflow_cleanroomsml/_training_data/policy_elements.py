"""Elements of IAM policy statements: lists, principals and wildcards (IAM user guide, reference_policies_elements)."""

from __future__ import annotations

import json
import re
from typing import Any


def list_values(value: Any) -> list[str]:
    """Return the values of an element, which may be a single one; JSON's true and false become the text that policies use."""
    return [
        item if isinstance(item, str) else json.dumps(item) for item in (value if isinstance(value, list) else [value])
    ]


def list_principals(principal: Any) -> list[str]:
    """Return the AWS principals of an element, without services and users of other identity providers."""
    return list_values(principal.get("AWS", []) if isinstance(principal, dict) else principal)


def matches_wildcards(pattern: str, value: str, flags: int = 0) -> bool:
    """
    Return whether a value matches a pattern with ``*`` and ``?``.

    Not :mod:`fnmatch`: policies have no character sets in brackets.

    :param flags: Flags of :mod:`re`.
    """
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, value, flags | re.DOTALL) is not None
