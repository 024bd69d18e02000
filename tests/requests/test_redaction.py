"""Sensitive values appear neither in violations nor in redacted messages of the service or botocore."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from html import escape
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from botocore import xform_name
from botocore.model import Shape

from airflow_cleanroomsml._requests.redaction import UNKNOWN, redact_by_description
from airflow_cleanroomsml._requests.request import Request, find_description_shape, find_operation, load
from airflow_cleanroomsml._requests.sensitive import find_child_shape, is_sensitive
from airflow_cleanroomsml._resources.table import AUDIENCE_GENERATION_JOB, ML_INPUT_CHANNEL, RESOURCES, TRAINED_MODEL
from tests.helpers.generated_requests import build_requests_at_limits, build_valid

MARK = "MARKEDSECRET"
#: Values that contain the secret; each of them is invalid for some shape.
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


def _iterate_sensitive_paths(
    shape: Any, path: tuple[str, ...] = (), *, inside: bool = False
) -> Iterator[tuple[str, ...]]:
    """Yield the paths of all sensitive members of a shape, and of everything inside them."""
    inside = inside or is_sensitive(shape)
    if inside:
        yield path
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            yield from _iterate_sensitive_paths(member, (*path, name), inside=inside)
    elif shape.type_name in ("map", "list"):
        member = shape.value if shape.type_name == "map" else shape.member
        yield from _iterate_sensitive_paths(member, (*path, "a" if shape.type_name == "map" else "0"), inside=inside)


def _build_value(shape: Any, path: tuple[str, ...], value: Any) -> Any:
    """Build the smallest value of a shape that has the given value at a path."""
    if not path:
        return value
    inner = _build_value(find_child_shape(shape, path[0]), path[1:], value)
    if shape.type_name == "list":
        return [inner]
    return {**(build_valid(shape, path[0]) if shape.type_name == "structure" else {}), path[0]: inner}


def _iterate_places() -> Iterator[tuple[str, tuple[str, ...]]]:
    for operation in load().operation_names:
        shape = load().operation_model(operation).input_shape
        if shape is not None:
            yield from ((operation, path) for path in _iterate_sensitive_paths(shape))


def _build_request(operation: str, members: dict[str, Any]) -> Request:
    return Request(load(), xform_name(operation), {xform_name(name): value for name, value in members.items()})


def test_queries_and_environments_are_sensitive() -> None:
    places = {f"{operation} {'.'.join(path)}" for operation, path in _iterate_places()}
    assert places >= {
        "CreateMLInputChannel inputChannel.dataSource.protectedQueryInputParameters.sqlParameters.queryString",
        "CreateTrainedModel environment.a",
        "StartAudienceGenerationJob seedAudience.sqlParameters.parameters.a",
        "StartTrainedModelInferenceJob environment",
    }


@pytest.mark.parametrize(
    ("operation", "path"), list(_iterate_places()), ids=lambda value: ".".join(value) if value else ""
)
def test_violations_show_no_sensitive_value(operation: str, path: tuple[str, ...]) -> None:
    shape = load().operation_model(operation).input_shape
    violations = 0
    for hostile in HOSTILE:
        request = _build_request(operation, _build_value(shape, path, hostile))
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
        quote(SQL),
        quote(SQL, safe="")[7:90],
        quote_plus(FOLDED),
        quote(quote(SQL)),
        quote(quote(quote_plus(SQL))).lower(),
        quote(json.dumps(SQL)),
        escape(SQL),
        escape(escape(FOLDED)),
        "&#32;".join(FOLDED.split()),
        "SELECT%20u.id%2C%20%20count",
    ],
)
def test_message_that_quotes_the_query_is_withheld(quoted: str) -> None:
    request = _build_query(SQL)
    withheld = "*** (withheld: the text quotes the query of the request)"
    assert request.redact(f"syntax error at or near {quoted} (line 3)") == withheld


#: Single encodings, and nested ones such as those of a proxy, a log, or an error within an error.
ENCODINGS: dict[str, Callable[[str], str]] = {
    "URL": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "XML": escape,
    "numeric": lambda text: "".join(letter if letter.isalnum() else f"&#{ord(letter)};" for letter in text),
    "URL twice": lambda text: quote(quote(text, safe=""), safe=""),
    "form twice": lambda text: quote_plus(quote_plus(text)),
    "XML twice": lambda text: escape(escape(text)),
    "XML in a URL": lambda text: quote(escape(text), safe=""),
    "a URL in XML": lambda text: escape(quote(text, safe="")),
    "numeric in a URL": lambda text: quote(ENCODINGS["numeric"](text), safe=""),
    "five times": lambda text: quote(escape(quote(escape(quote(text, safe="")), safe="")), safe=""),
}
encoded = pytest.mark.parametrize("encode", list(ENCODINGS.values()), ids=list(ENCODINGS))


# The words are separated by characters that stay encoded after one decoding, and no single word counts as a quotation.
SHORT_WORDS = "SELECT & a, \"b\" < c FROM <t> & 'u' > v"


@encoded
def test_query_of_short_words_is_withheld_in_any_encoding(encode: Callable[[str], str]) -> None:
    text = _build_query(SHORT_WORDS).redact(f"not valid: {encode(SHORT_WORDS)}!")
    assert text == "*** (withheld: the text quotes the query of the request)"


@encoded
@pytest.mark.parametrize("value", ["p & qu <äb> zed", "p & <ä> z"])
def test_variable_of_short_words_is_masked_in_any_encoding(encode: Callable[[str], str], value: str) -> None:
    assert _build_training({"K": value}).redact(f"K={encode(value)}; L=m") == "K=***; L=m"


@pytest.mark.parametrize(
    "message",
    [
        "Column tier not found",
        "Column customer not found in table u; did you mean id?",
        "The role cannot be assumed.",
        "1 validation error detected: Value at 'name' failed to satisfy constraint",
        "SELECT permission is missing on the table",
        "Account 123456789012 has 10 of 10 pending jobs",
        "s3://bucket/a%20b%zz&nothing; is 100%",
        "",
    ],
)
def test_ordinary_errors_stay_readable(message: str) -> None:
    assert _build_query(SQL).redact(message) == message
    variables = {"MODE": "dev", "RATE": "1.0", "FLAG": "on", "KEY": "hunter2-correct-horse"}
    assert _build_training(variables).redact(message) == message


def _build_query(text: str, **parameters: str) -> Request:
    source = {
        "sqlParameters": {"queryString": text, "parameters": parameters},
        "roleArn": f"arn:aws:iam::{1:012}:role/r",
    }
    job = next(build_requests_at_limits(load(), "StartAudienceGenerationJob")).value
    return Request(load(), "start_audience_generation_job", {**job, "seed_audience": source})


def _build_training(variables: dict[str, str]) -> Request:
    model = next(build_requests_at_limits(load(), "CreateTrainedModel")).value
    return Request(load(), "create_trained_model", {**model, "environment": variables})


def _build_inference(variables: dict[str, str]) -> Request:
    job = next(build_requests_at_limits(load(), "StartTrainedModelInferenceJob")).value
    return Request(load(), "start_trained_model_inference_job", {**job, "environment": variables})


@pytest.mark.parametrize("build", [_build_training, _build_inference])
@pytest.mark.parametrize(
    ("value", "message", "redacted"),
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
        ("s3cr et&more", "?k=s3cr%20et%26more&x=1", "?k=***&x=1"),
        ("s3cr et&more", "<k>s3cr et&amp;more</k>", "<k>***</k>"),
        ("größer als", "k=gr%C3%B6%C3%9Fer+als;", "k=***;"),
        ('p"$!', "k=p%22%24%21;", "k=***;"),
    ],
)
def test_values_of_environment_are_masked(
    build: Callable[[dict[str, str]], Request], value: str, message: str, redacted: str
) -> None:
    assert build({"K": value}).redact(message) == redacted


@pytest.mark.parametrize(
    ("query", "message", "redacted"),
    [
        ("SELECT id FROM t WHERE name = 'Meier'", "Cannot cast 'Meier' to bigint", "Cannot cast '***' to bigint"),
        ("SELECT id FROM t WHERE name = 'Meier'", "cannot cast MEIER, of Meierhof", "cannot cast ***, of Meierhof"),
        ("SELECT id FROM t WHERE mail = 'a@b.example'", "not a date: a%40b.example", "not a date: ***"),
        ("SELECT 'it''s me' FROM t", "bad value 'it''s me', it's me", "bad value '***', ***"),
        ("SELECT 1 -- don't\nWHERE x = 'Zürich'", "bad value Z\\u00fcrich", "bad value ***"),
        ("SELECT 1 /* don't */ WHERE x = 'hunter2'", "bad value hunter2", "bad value ***"),
        ("SELECT \"it's\" FROM t WHERE x = 'hunter2'", "bad value hunter2", "bad value ***"),
        (r"SELECT 'it\'s' FROM t WHERE x = 'bob@x.com'", "cannot cast 'bob@x.com' to INT", "cannot cast '***' to INT"),
        (r"SELECT 'C:\' FROM t WHERE x = 'bob@x.com'", "cannot cast 'bob@x.com' to INT", "cannot cast '***' to INT"),
        (r"SELECT r'C:\', 'it\'s' FROM t WHERE x = 'bob@x.com'", "not a number: bob@x.com", "not a number: ***"),
        ('SELECT id FROM t WHERE x = "bob@x.com"', "cannot cast 'bob@x.com' to INT", "cannot cast '***' to INT"),
        (r'SELECT "an \"id\"" FROM t WHERE x = "bob@x.com"', "not a number: bob@x.com", "not a number: ***"),
        ("SELECT `o'brien` FROM t WHERE x = 'bob@x.com'", "cannot cast 'bob@x.com' to INT", "cannot cast '***' to INT"),
        ("SELECT 1 /* /* a */ don't */ WHERE x = 'bob@x.com'", "not a number: bob@x.com", "not a number: ***"),
        ("SELECT 1 /* /* don't */ WHERE x = 'bob@x.com'", "not a number: bob@x.com", "not a number: ***"),
        ("SELECT 1 -- don't \\\n don't\nWHERE x = 'bob@x.com'", "not a number: bob@x.com", "not a number: ***"),
        (r"SELECT id FROM t WHERE x = 'i\'ms'", "cannot cast 'i'ms' to INT", "cannot cast '***' to INT"),
        (r"SELECT id FROM t WHERE x = 'a\u0062c'", "cannot cast 'abc' to INT", "cannot cast '***' to INT"),
        ("SELECT id FROM t WHERE x = 'i''ms'", "cannot cast 'ims' to INT", "cannot cast '***' to INT"),
        ("SELECT id FROM t WHERE x = 'bob@x.com", "no end of text: 'bob@x.com", "no end of text: '***"),
        ("SELECT id FROM t WHERE salary > 123456.5", "123456.5 is no integer", "*** is no integer"),
        ("SELECT id FROM t WHERE phone = 5550123", "5550123 is no text", "*** is no text"),
        ("SELECT id FROM t WHERE a = 'x' AND b = 10", "line 10 of x", "line 10 of x"),
    ],
)
def test_separate_literals_of_query_are_masked(query: str, message: str, redacted: str) -> None:
    assert _build_query(query).redact(message) == redacted


@pytest.mark.parametrize(
    "query",
    [
        "'" * 500_001,
        "/*" * 250_000,
        "/* a */" * 70_000 + "'",
        "\\" * 500_000,
        "'" + "\\" * 499_999,
        '"' + "''" * 250_000,
    ],
    ids=lambda query: f"{query[:3]} times {len(query)}",
)
def test_query_of_only_quotes_or_comments_is_parsed(query: str) -> None:
    assert _build_query(query).redact("no such column") == "no such column"


def test_one_of_many_literals_is_masked_in_long_message() -> None:
    query = f"SELECT id FROM t WHERE id IN ({', '.join(f'{chr(39)}id-{number}{chr(39)}' for number in range(40_000))})"
    message = "no such column here " * 200
    assert _build_query(query).redact(f"{message}'ID-31234'") == f"{message}'***'"


def test_variable_with_the_name_of_a_member_is_masked() -> None:
    variables = {"queryString": "hunter2-one", "analysisTemplateArn": "hunter2-two"}
    assert _build_training(variables).redact("a=hunter2-one b=hunter2-two c") == "a=*** b=*** c"


def test_parameters_of_query_are_masked() -> None:
    assert _build_query("SELECT 1", region="north-west").redact("no rows for North-West") == "no rows for ***"


def test_long_query_is_found_in_long_message() -> None:
    query = " ".join(f"column_{number}" for number in range(30_000))
    assert _build_query(query).redact("x" * 1000 + query[200_000:200_100]).startswith("***")
    assert _build_query(query).redact("no such table " * 1000) == "no such table " * 1000


MESSAGE = "login as hunter2-horse was refused"
INSTANCES = {"resourceConfig": {"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30}}
ROLE = {"roleArn": "arn:aws:iam::123456789012:role/r"}


@pytest.mark.parametrize(
    ("description", "redacted"),
    [
        ({"environment": {"USER": "hunter2-horse"}}, "login as *** was refused"),
        ({**INSTANCES, "environment": {}}, MESSAGE),
        # Every request with an environment also has instances: a description with instances only had no environment.
        ({**INSTANCES}, MESSAGE),
        ({**INSTANCES, "environment": None}, MESSAGE),
        ({"name": "m", "status": "CREATE_FAILED"}, UNKNOWN),
        ({}, UNKNOWN),
    ],
)
def test_message_is_withheld_if_description_of_model_is_incomplete(description: dict[str, Any], redacted: str) -> None:
    assert redact_by_description(find_description_shape(TRAINED_MODEL), description, MESSAGE) == redacted


def _build_channel(parameters: dict[str, Any]) -> dict[str, Any]:
    return {"inputChannel": {"dataSource": {"protectedQueryInputParameters": parameters}, **ROLE}}


@pytest.mark.parametrize(
    ("description", "redacted"),
    [
        (
            _build_channel({"sqlParameters": {"queryString": "SELECT login as hunter2-horse FROM t"}}),
            "*** (withheld: the text quotes the query",
        ),
        (_build_channel({"sqlParameters": {"queryString": "SELECT 1"}}), MESSAGE),
        (_build_channel({"resultFormat": "CSV"}), UNKNOWN),
        (_build_channel({"sqlParameters": None, "computeConfiguration": {"worker": {}}}), UNKNOWN),
        ({"inputChannel": {"dataSource": {}, **ROLE}}, UNKNOWN),
        ({"inputChannel": {**ROLE}}, UNKNOWN),
        ({}, UNKNOWN),
    ],
)
def test_message_is_withheld_if_channel_lacks_its_query(description: dict[str, Any], redacted: str) -> None:
    assert redact_by_description(find_description_shape(ML_INPUT_CHANNEL), description, MESSAGE).startswith(redacted)


@pytest.mark.parametrize(
    ("seed", "redacted"),
    [
        ({"dataSource": {"s3Uri": "s3://b/seed"}, **ROLE}, MESSAGE),
        ({"sqlParameters": {"queryString": "SELECT 1"}, **ROLE}, MESSAGE),
        ({**ROLE}, UNKNOWN),
        (None, UNKNOWN),
    ],
)
def test_message_is_withheld_if_job_lacks_its_seed(seed: Any, redacted: str) -> None:
    assert (
        redact_by_description(find_description_shape(AUDIENCE_GENERATION_JOB), {"seedAudience": seed}, MESSAGE)
        == redacted
    )


def test_message_is_withheld_if_query_is_not_shown() -> None:
    shape = find_operation(load("cleanrooms"), "get_protected_query").output_shape
    assert redact_by_description(shape, {"protectedQuery": {"id": "q", "status": "FAILED"}}, MESSAGE) == UNKNOWN
    assert (
        redact_by_description(shape, {"protectedQuery": {"sqlParameters": {"queryString": "SELECT 1"}}}, MESSAGE)
        == MESSAGE
    )


def test_requests_and_descriptions_with_environment_have_instances() -> None:
    shapes: list[Any] = [load().operation_model(name).input_shape for name in load().operation_names]
    requests = [shape for shape in shapes if shape is not None and "environment" in shape.members]
    assert len(requests) == 2
    assert all("resourceConfig" in shape.required_members for shape in requests)
    descriptions = [find_description_shape(resource) for resource in RESOURCES.values()]
    assert all("resourceConfig" in shape.members for shape in descriptions if "environment" in shape.members)


def test_shape_without_the_trait_is_not_sensitive() -> None:
    assert not is_sensitive(None)
    assert not is_sensitive(Shape("Name", {"type": "string"}))
