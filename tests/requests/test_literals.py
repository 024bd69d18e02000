from __future__ import annotations

from typing import Any

import pytest

from airflow_cleanroomsml._requests.coercion import parse_container


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, {"b": null}], "c": true}', {"a": [1, {"b": None}], "c": True}),
        ("{'a': [1, {'b': None}], 'c': (True, -1.5)}", {"a": [1, {"b": None}], "c": [True, -1.5]}),
        (" ('x',) ", ["x"]),
        ("[]", []),
        ("{}", {}),
    ],
)
def test_json_and_python_literals_are_parsed(text: str, value: Any) -> None:
    assert parse_container(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "a", "{'a': open('x')}", "{**{'a': 1}}", "{[1]: 2}", "{'a': ", "[" * 100_000, "{'a': x}", "[x for x in 'ab']"],
)
def test_other_text_is_returned_unchanged(text: str) -> None:
    assert parse_container(text) == text


def test_duplicate_keys_are_recorded() -> None:
    mapping = parse_container("{'a': {'b': 1, 'b': 2, 'b': 3}, 'c': 1}")
    assert mapping.repeated == []
    assert mapping["a"].repeated == ["b", "b"]
    assert mapping["a"] == {"b": 3}
