"""What is sensitive is neither shown in a violation nor left in a text of the service or of botocore."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore import xform_name
from botocore.model import Shape

from airflow_cleanroomsml.hidden import is_sensitive
from airflow_cleanroomsml.redaction import below
from airflow_cleanroomsml.service_model import Request, load
from tests.limits import requests_at_limits, valid

MARK = "MARKEDSECRET"
#: What is wrong with some shape each, and says the secret.
HOSTILE: list[Any] = [
    MARK,
    f"{{'{MARK}': ",
    f'{{"{MARK}": "{MARK}", "{MARK}": 1}}',
    [MARK],
    {MARK: MARK},
    {f"{MARK}-!": MARK},
    {MARK: [MARK]},
    {MARK: MARK * 100_000},
    MARK * 100_000,
    MARK.encode(),
    {MARK: None},
    {1: f"{MARK}", "1": MARK},
]


def _sensitive(shape: Any, path: tuple[str, ...] = (), *, inside: bool = False) -> Iterator[tuple[str, ...]]:
    """Paths of all shapes at or below the sensitive members of a shape."""
    inside = inside or is_sensitive(shape)
    if inside:
        yield path
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            yield from _sensitive(member, (*path, name), inside=inside)
    elif shape.type_name in ("map", "list"):
        member = shape.value if shape.type_name == "map" else shape.member
        yield from _sensitive(member, (*path, "a" if shape.type_name == "map" else "0"), inside=inside)


def _with(shape: Any, path: tuple[str, ...], value: Any) -> Any:
    """The smallest value of a shape that has the given one at a path."""
    if not path:
        return value
    inner = _with(below(shape, path[0]), path[1:], value)
    if shape.type_name == "list":
        return [inner]
    return {**(valid(shape, path[0]) if shape.type_name == "structure" else {}), path[0]: inner}


def _places() -> Iterator[tuple[str, tuple[str, ...]]]:
    for operation in load().operation_names:
        shape = load().operation_model(operation).input_shape
        if shape is not None:
            yield from ((operation, path) for path in _sensitive(shape))


def _request(operation: str, members: dict[str, Any]) -> Request:
    return Request(load(), xform_name(operation), {xform_name(name): value for name, value in members.items()})


def test_queries_and_environments_are_sensitive() -> None:
    found = {f"{operation} {'.'.join(path)}" for operation, path in _places()}
    assert found >= {
        "CreateMLInputChannel inputChannel.dataSource.protectedQueryInputParameters.sqlParameters.queryString",
        "CreateTrainedModel environment.a",
        "StartAudienceGenerationJob seedAudience.sqlParameters.parameters.a",
        "StartTrainedModelInferenceJob environment",
    }


@pytest.mark.parametrize(("operation", "path"), list(_places()), ids=lambda value: ".".join(value) if value else "")
def test_no_violation_shows_what_is_sensitive(operation: str, path: tuple[str, ...]) -> None:
    shape = load().operation_model(operation).input_shape
    violations = 0
    for hostile in HOSTILE:
        request = _request(operation, _with(shape, path, hostile))
        texts = [str(violation) for violation in request.violations] + request.warnings + request.left_out
        violations += len(request.violations)
        assert MARK not in "".join(texts)
    assert violations


SQL = """SELECT u.id,  count(*) AS "größe",
    CASE WHEN plan = 'it''s gold' THEN 'C:\\new' END AS tier
FROM paying_customers u
WHERE u.last_purchase > DATE '2026-01-01' AND u.revenue > 12345"""
FOLDED = " ".join(SQL.split())


@pytest.mark.parametrize(
    "quoted",
    [
        SQL,
        FOLDED,
        SQL.upper(),
        SQL.lower(),
        json.dumps(SQL),
        json.dumps(SQL, ensure_ascii=False),
        json.dumps(json.dumps(SQL)),
        json.dumps(json.dumps(SQL))[1:90],
        repr(SQL),
        SQL.replace("'", "''"),
        SQL.replace("'", "\\'"),
        SQL.encode("ascii", "backslashreplace").decode(),
        re.sub(r"([,()=>])", r" \1 ", FOLDED),
        f"{SQL[:100]}…",
        f"{FOLDED[:40]} … {FOLDED[-30:]}",
        f"...{SQL[60:120]}...",
        "paying_customers u",
        "\n".join(FOLDED[at : at + 10] for at in range(0, len(FOLDED), 10)),
    ],
)
def test_a_text_that_quotes_the_query_is_withheld(quoted: str) -> None:
    request = _query(SQL)
    withheld = "*** (a text that quotes the query of the request)"
    assert request.redact(f"syntax error at or near {quoted} (line 3)") == withheld


@pytest.mark.parametrize(
    "said",
    [
        "Column tier not found",
        "Column customer not found in table u; did you mean id?",
        "The role cannot be assumed.",
        "1 validation error detected: Value at 'name' failed to satisfy constraint",
        "SELECT permission is missing on the table",
        "Account 123456789012 has 10 of 10 pending jobs",
        "",
    ],
)
def test_ordinary_errors_stay_readable(said: str) -> None:
    assert _query(SQL).redact(said) == said
    variables = {"MODE": "dev", "RATE": "1.0", "FLAG": "on", "KEY": "hunter2-correct-horse"}
    assert _trained(variables).redact(said) == said


def _query(text: str, **parameters: str) -> Request:
    source = {
        "sqlParameters": {"queryString": text, "parameters": parameters},
        "roleArn": f"arn:aws:iam::{1:012}:role/r",
    }
    job = next(requests_at_limits(load(), "StartAudienceGenerationJob")).value
    return Request(load(), "start_audience_generation_job", {**job, "seed_audience": source})


def _trained(variables: dict[str, str]) -> Request:
    model = next(requests_at_limits(load(), "CreateTrainedModel")).value
    return Request(load(), "create_trained_model", {**model, "environment": variables})


def _started(variables: dict[str, str]) -> Request:
    job = next(requests_at_limits(load(), "StartTrainedModelInferenceJob")).value
    return Request(load(), "start_trained_model_inference_job", {**job, "environment": variables})


@pytest.mark.parametrize("made", [_trained, _started])
@pytest.mark.parametrize(
    ("value", "said", "left"),
    [
        ("hunter2", "exec failed: PASSWORD=hunter2 python", "exec failed: PASSWORD=*** python"),
        ("hunter2", "PASSWORDhunter2x", "PASSWORD***x"),
        ("HunTer2", "password is 'hunter2'", "password is '***'"),
        ('a "quoted" value', r"env {\"K\": \"a \\\"quoted\\\" value\"}", r"env {\"K\": \"***\"}"),
        ("größer als", r"K=gr\u00f6\u00dfer als", "K=***"),
        ("line one\nline two", r"K='line one\nline two'", "K='***'"),
        ("x" * 300, f"K={'x' * 100}… is too long", "K=***… is too long"),
        ("1.0", "RATE=1.0 of 11.0", "RATE=*** of 11.0"),
        ("dev", "MODE=DEV: no such device", "MODE=***: no such device"),
        ('p"$!', 'K="p\\"$!"', 'K="***"'),
        ("on", "FLAG=on", "FLAG=on"),
    ],
)
def test_values_of_an_environment_are_taken_out(
    made: Callable[[dict[str, str]], Request], value: str, said: str, left: str
) -> None:
    assert made({"K": value}).redact(said) == left


def test_a_variable_that_is_named_as_a_member_is_a_variable() -> None:
    named = {"queryString": "hunter2-one", "analysisTemplateArn": "hunter2-two"}
    assert _trained(named).redact("a=hunter2-one b=hunter2-two c") == "a=*** b=*** c"


def test_parameters_of_a_query_are_taken_out() -> None:
    assert _query("SELECT 1", region="north-west").redact("no rows for North-West") == "no rows for ***"


def test_a_long_query_is_looked_for_in_a_long_text() -> None:
    query = " ".join(f"column_{number}" for number in range(30_000))
    assert _query(query).redact("x" * 1000 + query[200_000:200_100]).startswith("***")
    assert _query(query).redact("no such table " * 1000) == "no such table " * 1000


def test_a_shape_that_nobody_declared_is_not_sensitive() -> None:
    assert not is_sensitive(None)
    assert not is_sensitive(Shape("Name", {"type": "string"}))
