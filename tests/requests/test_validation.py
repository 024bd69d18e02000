from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_cleanroomsml._requests.request import Request, load
from airflow_cleanroomsml._requests.validation import RequestCheck
from airflow_cleanroomsml.exceptions import InvalidRequestError

UTC = timezone.utc
MODEL_ARN = "arn:aws:cleanrooms-ml:us-east-1:123456789012:audience-model/m"
MEMBERSHIP = "01234567-89ab-cdef-0123-456789abcdef"
OWN_CHANNEL = f"arn:aws:cleanrooms-ml:us-east-1:123456789012:membership/{MEMBERSHIP}/ml-input-channel/1"
DATASET_ARN = "arn:aws:cleanrooms-ml:us-east-1:123456789012:training-dataset/d"
CONFIGURED_ARN = "arn:aws:cleanrooms-ml:us-east-1:123456789012:configured-audience-model/c"
ROLE = "arn:aws:iam::123456789012:role/r"
OUTPUT = {"destination": {"s3Destination": {"s3Uri": "s3://b/p"}}, "roleArn": ROLE}
CONFIGURED: dict[str, Any] = {
    "name": "n",
    "audience_model_arn": MODEL_ARN,
    "output_config": OUTPUT,
    "shared_audience_metrics": ["ALL"],
}
TWICE = '{"s3Uri": "s3://a/b", "s3Uri": "s3://c/d"}'
JOB: dict[str, Any] = {
    "name": "n",
    "configured_audience_model_arn": CONFIGURED_ARN,
    "seed_audience": {"dataSource": {"s3Uri": "s3://b/seed"}, "roleArn": ROLE},
}


def build_request(**changes: Any) -> Request:
    return Request(load(), "create_configured_audience_model", {**CONFIGURED, **changes})


def find_violations(**changes: Any) -> list[str]:
    return [str(violation) for violation in build_request(**changes).violations]


def convert_start_time(value: Any) -> Any:
    request = Request(
        load(),
        "create_audience_model",
        {"name": "n", "training_dataset_arn": DATASET_ARN, "training_data_start_time": value},
    )
    request.raise_for_violations()
    return request.members["trainingDataStartTime"]


@pytest.mark.parametrize(
    ("changes", "path", "rule"),
    [
        ({"name": "x" * 64}, "name", "1 to 63 characters"),
        ({"name": ""}, "name", "1 to 63 characters"),
        ({"name": "   "}, "name", "pattern"),
        ({"name": None}, "name", "required"),
        ({"min_matching_seed_size": 24}, "min_matching_seed_size", "25 to 500000"),
        ({"min_matching_seed_size": "500001"}, "min_matching_seed_size", "25 to 500000"),
        ({"min_matching_seed_size": True}, "min_matching_seed_size", "must be an integer"),
        ({"min_matching_seed_size": "many"}, "min_matching_seed_size", "must be an integer"),
        ({"shared_audience_metrics": ["SOME"]}, "shared_audience_metrics[0]", "ALL, NONE"),
        ({"shared_audience_metrics": "ALL"}, "shared_audience_metrics", "must be a list"),
        ({"shared_audience_metrics": []}, "shared_audience_metrics", "1 item"),
        ({"shared_audience_metrics": [None]}, "shared_audience_metrics[0]", "required"),
        ({"output_config": {"roleArn": ROLE}}, "output_config.destination", "required"),
        (
            {"output_config": {"destination": {"s3Destination": {"s3Uri": "bucket/p"}}, "roleArn": ROLE}},
            "output_config.destination.s3Destination.s3Uri",
            "pattern: s3://.+",
        ),
        (
            {"audience_size_config": {"audienceSizeType": "ABSOLUTE", "audienceSizeBins": [1], "binz": 1}},
            "audience_size_config.binz",
            "allowed: audienceSizeType, audienceSizeBins",
        ),
        ({"output_config": "s3://b/p"}, "output_config", "must be a mapping"),
        (
            {"audience_size_config": {"audienceSizeType": "PERCENTAGE", "audienceSizeBins": [1] * 26}},
            "audience_size_config.audienceSizeBins",
            "1 to 25 items",
        ),
        (
            {"audience_size_config": {"audienceSizeType": "ABSOLUTE", "audienceSizeBins": [1, 20_000_001]}},
            "audience_size_config.audienceSizeBins[1]",
            "1 to 20000000",
        ),
        ({"tags": {"AWS:x": "1"}}, "tags key 'AWS:x'", "starts with the reserved prefix 'aws:'"),
        ({"tags": {f"k{n}": "" for n in range(201)}}, "tags", "0 to 200 entries"),
        ({"tags": {"k": "v" * 257}}, "tags['k']", "0 to 256 characters"),
        ({"nmae": "x"}, "nmae", "did you mean 'name'?"),
        ({"name": 1.1}, "name", "must be a string"),
    ],
)
def test_violation_names_path_and_rule(changes: dict[str, Any], path: str, rule: str) -> None:
    (violation,) = find_violations(**changes)
    assert violation.startswith(f"{path}: ")
    assert rule in violation


def test_misspelt_nested_key_is_reported_with_missing_one() -> None:
    unknown, missing = find_violations(output_config={"destinatoin": {}, "roleArn": ROLE})
    assert unknown.startswith("output_config.destinatoin: no such member (did you mean 'destination'?)")
    assert missing == "output_config.destination: missing; required"


def test_error_lists_all_violations() -> None:
    request = build_request(name="x" * 64, min_matching_seed_size=24, shared_audience_metrics=["SOME"])
    with pytest.raises(InvalidRequestError) as caught:
        request.raise_for_violations()
    assert len(caught.value.violations) == 3
    assert all(violation in str(caught.value) for violation in caught.value.violations)


@pytest.mark.parametrize("name", ["x", "x" * 63, "emoji 😀", "😀", "tab\tinside", "Ünïcode"])
def test_names_that_the_service_may_accept_pass(name: str) -> None:
    assert not find_violations(name=name)


def test_percentages_on_which_documents_disagree_are_sent_with_a_warning() -> None:
    sizes = {"audienceSizeType": "PERCENTAGE", "audienceSizeBins": [5, 40]}
    request = build_request(audience_size_config=sizes)
    assert not request.violations
    (warning,) = request.warnings
    assert "audienceSizeBins: 40 percent" in warning


def test_a_long_name_across_accounts_is_a_warning() -> None:
    job = {**JOB, "name": "x" * 51, "collaboration_id": "12345678-1234-1234-1234-123456789012"}
    assert any("use at most 50" in text for text in Request(load(), "start_audience_generation_job", job).warnings)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"min_matching_seed_size": " 500 "}, {"minMatchingSeedSize": 500}),
        ({"min_matching_seed_size": 500.0}, {"minMatchingSeedSize": 500}),
        ({"min_matching_seed_size": "None"}, {}),
        ({"min_matching_seed_size": None}, {}),
        ({"shared_audience_metrics": '["ALL"]'}, {"sharedAudienceMetrics": ["ALL"]}),
        ({"shared_audience_metrics": ("ALL",)}, {"sharedAudienceMetrics": ["ALL"]}),
        ({"tags": "{'team': 'ads', 'year': 2026}"}, {"tags": {"team": "ads", "year": "2026"}}),
        ({"tags": "None"}, {}),
        ({"description": "None"}, {"description": "None"}),
        ({"description": ""}, {"description": ""}),
        (
            {"audience_size_config": '{"audienceSizeType": "ABSOLUTE", "audienceSizeBins": ["10000"]}'},
            {"audienceSizeConfig": {"audienceSizeType": "ABSOLUTE", "audienceSizeBins": [10_000]}},
        ),
    ],
)
def test_rendered_value_becomes_the_modelled_type(arguments: Any, expected: dict[str, Any]) -> None:
    request = build_request(**arguments)
    assert not request.violations
    (name,) = arguments
    members = {key: value for key, value in request.members.items() if key in expected}
    assert members == expected
    assert expected or name not in request.arguments


@pytest.mark.parametrize(("argument", "value"), [("true", True), ("False", False), (True, True)])
def test_boolean_is_converted(argument: Any, value: Any) -> None:
    job = Request(load(), "start_audience_generation_job", {**JOB, "include_seed_in_output": argument})
    assert job.members["includeSeedInOutput"] is value


@pytest.mark.parametrize("value", ["yes", "1", 1, ""])
def test_other_value_is_rejected_as_boolean(value: Any) -> None:
    job = Request(load(), "start_audience_generation_job", {**JOB, "include_seed_in_output": value})
    assert "must be true or false" in str(job.violations[0])


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T06:00:00+02:00", datetime(2026, 11, 1, 4, tzinfo=UTC)),
        ("2026-11-01 06:00:00", datetime(2026, 11, 1, 6, tzinfo=UTC)),
        ("20261101T060000", datetime(2026, 11, 1, 6, tzinfo=UTC)),
        ("2026-11-01T06:00:00Z", datetime(2026, 11, 1, 6, tzinfo=UTC)),
        ("1793491200", datetime(2026, 11, 1, tzinfo=UTC)),
        (1793491200, datetime(2026, 11, 1, tzinfo=UTC)),
        (date(2026, 11, 1), datetime(2026, 11, 1, tzinfo=UTC)),
        (datetime.fromisoformat("2026-11-01"), datetime(2026, 11, 1, tzinfo=UTC)),
        (
            datetime(2026, 11, 1, 6, tzinfo=timezone(timedelta(hours=2))),
            datetime(2026, 11, 1, 4, tzinfo=UTC),
        ),
    ],
)
def test_time_is_converted(value: Any, time: datetime) -> None:
    assert convert_start_time(value) == time


@pytest.mark.parametrize("value", ["yesterday", "", "2026-13-01", True, [1], 20261124])
def test_other_value_is_rejected_as_time(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match="training_data_start_time: .*ISO 8601"):
        convert_start_time(value)


def test_sensitive_values_are_masked_in_violations_and_messages() -> None:
    seed = {
        "sqlParameters": {"queryString": "SELECT secret_column FROM t", "parameters": {"p": "v" * 1001}},
        "roleArn": ROLE,
    }
    request = Request(load(), "start_audience_generation_job", {**JOB, "seed_audience": seed})
    (violation,) = request.violations
    assert "vvv" not in str(violation)
    for quoted in ("near 'SELECT secret_column FROM t'", "near 'secret_column FR'", "near SELECT\n  secret_column"):
        assert "secret_column" not in request.redact(f"syntax error {quoted}")
    template = "arn:aws:cleanrooms:us-east-1:123456789012:membership/m/analysistemplate/t"
    seed = {"sqlParameters": {"analysisTemplateArn": template, "parameters": {"mode": "all"}}, "roleArn": ROLE}
    other = Request(load(), "start_audience_generation_job", {**JOB, "seed_audience": seed})
    message = "arn:aws:sts::123456789012:assumed-role/x is not allowed: mode"
    assert other.redact(f"{message} all") == f"{message} ***"
    assert request.redact("The role cannot be assumed.") == "The role cannot be assumed."


@pytest.mark.parametrize(
    "seed",
    [
        '{"sqlParameters": {"queryString": "SELECT secret_column FROM "x"',
        [{"sqlParameters": {"queryString": "SELECT secret_column"}}],
        {"roleArn": ROLE, "sqlParameters": {"SELECT secret_column": "x"}},
    ],
)
def test_value_in_place_of_structure_is_not_shown(seed: Any) -> None:
    (violation,) = Request(load(), "start_audience_generation_job", {**JOB, "seed_audience": seed}).violations
    assert "secret_column" not in str(violation)


def test_policy_rendered_to_mapping_becomes_json() -> None:
    arguments = {"configured_audience_model_arn": CONFIGURED_ARN, "configured_audience_model_policy": {"Statement": []}}
    request = Request(load(), "put_configured_audience_model_policy", arguments)
    assert request.members["configuredAudienceModelPolicy"] == '{"Statement": []}'


def test_unknown_operation_gets_a_suggestion() -> None:
    with pytest.raises(InvalidRequestError, match="create_audience_modle.*did you mean 'create_audience_model'"):
        Request(load(), "create_audience_modle", {})


def test_none_as_text_is_rejected_for_required_member() -> None:
    arguments = {"membership_identifier": "None", "ml_input_channel_arn": OWN_CHANNEL}
    (violation,) = Request(load(), "get_ml_input_channel", arguments).violations
    assert str(violation) == "membership_identifier: 'None' has 4 characters; allowed: 36 characters"


def test_omitted_arguments_are_listed() -> None:
    assert build_request(min_matching_seed_size="None").left_out == ["min_matching_seed_size"]


def test_message_is_short_and_error_keeps_all_violations() -> None:
    bins = {"audienceSizeType": "ABSOLUTE", "audienceSizeBins": ["x" * 10_000] * 100_000}
    request = build_request(audience_size_config=bins, shared_audience_metrics=["ALLL"] * 100_000)
    with pytest.raises(InvalidRequestError) as caught:
        request.raise_for_violations()
    assert len(caught.value.violations) == 200_002
    assert len(str(caught.value)) < 10_000
    assert str(caught.value).splitlines()[-1] == "  … and 199,952 more"
    assert len(str(caught.value).splitlines()) == 52


def test_message_shows_fifty_violations() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        build_request(tags={f"aws:{number}": "" for number in range(50)}).raise_for_violations()
    assert len(str(caught.value).splitlines()) == 51
    assert "more" not in str(caught.value)


def test_long_list_of_words_is_cut_and_closest_suggested() -> None:
    resources = {"instanceType": "ml.m5.2xlrge", "volumeSizeInGB": 30}
    request = Request(load(), "create_trained_model", {"resource_config": resources})
    text = next(str(violation) for violation in request.violations if violation.path.startswith("resource_config"))
    assert "did you mean 'ml.m5.2xlarge'?" in text
    assert text.endswith(" more")
    assert len(text) < 600


@pytest.mark.parametrize("name", ["x" * 100_000, "two\nlines: missing; required"])
def test_unknown_name_is_shortened_to_one_line(name: str) -> None:
    for violation in (*find_violations(**{name: 1}), *find_violations(audience_size_config={name: 1})[:1]):
        assert "\n" not in violation
        assert len(violation) < 500


@pytest.mark.parametrize("quote", [str, lambda text: text.replace('"', "'")])
@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (
            {
                "audience_size_config": '{"audienceSizeType": "ABSOLUTE", "audienceSizeBins": [1], "audienceSizeBins": [2]}'
            },
            "audience_size_config.audienceSizeBins",
        ),
        ({"tags": '{"team": "a", "other": "b", "team": "a"}'}, "tags key 'team'"),
        ({"tags": '{"1": "a", 1: "b"}'}, "tags key 1"),
        (
            {"output_config": f'{{"destination": {{"s3Destination": {TWICE}}}, "roleArn": "{ROLE}"}}'},
            "output_config.destination.s3Destination.s3Uri",
        ),
    ],
)
def test_duplicate_key_in_text_is_rejected(arguments: dict[str, str], path: str, quote: Callable[[str], str]) -> None:
    (name,) = arguments
    assert find_violations(**{name: quote(arguments[name])}) == [f"{path}: given more than once; allowed: once"]


def test_floats_and_booleans_in_place_of_strings_must_be_quoted() -> None:
    rates = {"rate": 0.1, "shuffle": True, "epochs": 3}
    request = Request(load(), "create_trained_model", {"hyperparameters": rates})
    texts = [str(violation) for violation in request.violations if violation.path.startswith("hyperparameters")]
    assert texts == [
        "hyperparameters['rate']: 0.1 is a float; must be a string, in quotes",
        "hyperparameters['shuffle']: True is a bool; must be a string, in quotes",
    ]


@pytest.mark.parametrize(
    ("changes", "problem", "allowed"),
    [
        ({"audience_model_arn": CONFIGURED_ARN}, "of a configured audience model", "of an audience model"),
        ({"audience_model_arn": ROLE}, "of an IAM role", "of an audience model"),
        ({"audience_model_arn": OWN_CHANNEL}, "of an ML input channel", "of an audience model"),
        (
            {"output_config": {**OUTPUT, "roleArn": MODEL_ARN}},
            "of an audience model",
            "of an IAM role",
        ),
    ],
)
def test_violation_names_kind_of_wrong_arn(changes: dict[str, Any], problem: str, allowed: str) -> None:
    (text,) = find_violations(**changes)
    assert text.endswith(f"is the ARN {problem}; must be the ARN {allowed}")


def test_arn_of_alias_is_rejected_as_key() -> None:
    alias = "arn:aws:kms:us-east-1:123456789012:alias/key"
    arguments = {"name": "n", "training_dataset_arn": DATASET_ARN, "kms_key_arn": alias}
    (violation,) = Request(load(), "create_audience_model", arguments).violations
    assert str(violation).endswith("is the ARN of a KMS alias; must be the ARN of a KMS key")


@pytest.mark.parametrize(
    "arn",
    [
        "mine",
        "arn:aws:s3:::bucket/of/somebody",
        MODEL_ARN.replace("123456789012", "12345678901"),
        f"{MODEL_ARN[:-1]}ü",
        "arn:aws:cleanrooms-ml:us-east-1:123456789012:",
        "arn:aws:cleanrooms-ml:us-east-1:123456789012:" + "\n" * 20,
    ],
)
def test_violation_of_unknown_arn_shows_the_pattern(arn: str) -> None:
    (text,) = find_violations(audience_model_arn=arn)
    assert " pattern: arn:aws" in text or "allowed: 20 to 2048 characters" in text
    assert "\n" not in text


def test_violation_names_all_allowed_kinds() -> None:
    arguments = {"resource_arn": ROLE, "tags": {}}
    (violation,) = Request(load(), "tag_resource", arguments).violations
    assert "is the ARN of an IAM role; must be the ARN of" in str(violation)
    assert ", a training dataset, an audience model, a configured audience model" in str(violation)


def test_kind_of_sensitive_arn_is_not_shown() -> None:
    seed = {"sqlParameters": {"analysisTemplateArn": ROLE}, "roleArn": ROLE}
    (violation,) = Request(load(), "start_audience_generation_job", {**JOB, "seed_audience": seed}).violations
    assert "role" not in str(violation).replace("roleArn", "")


@pytest.mark.parametrize("value", [None, "None"])
def test_member_unknown_to_botocore_is_omitted_if_none(value: Any) -> None:
    assert not find_violations(future_member=value)
    request = build_request(
        audience_size_config={"audienceSizeType": "ABSOLUTE", "audienceSizeBins": [1], "next": value}
    )
    assert not request.violations
    assert "next" not in request.members["audienceSizeConfig"]
    assert request.left_out == (["audience_size_config.next"] if value else [])
    assert len(find_violations(future_member="x")) == 1


def test_base_version_is_omitted_if_botocore_does_not_know_it() -> None:
    arguments = {"membership_identifier": MEMBERSHIP, "ml_input_channel_arn": OWN_CHANNEL}
    # No version of botocore knows a version of an ML input channel.
    assert not Request(load(), "get_ml_input_channel", {**arguments, "version_identifier": "NULL"}).violations
    assert len(Request(load(), "get_ml_input_channel", {**arguments, "version_identifier": MEMBERSHIP}).violations) == 1
    assert len(Request(load(), "get_ml_input_channel", {**arguments, "identifier": "NULL"}).violations) == 1
    version = {
        "trained_model_arn": OWN_CHANNEL.replace("ml-input-channel", "trained-model"),
        "version_identifier": "NULL",
    }
    request = Request(load(), "get_trained_model", {"membership_identifier": MEMBERSHIP, **version})
    assert not request.violations
    assert "the default is the latest version" in request.warnings[0]


@pytest.mark.parametrize("rest", ["\n", " ", "?x", "/ü", "\n/x"])
def test_pattern_must_match_to_the_end(rest: str) -> None:
    (violation,) = find_violations(audience_model_arn=MODEL_ARN + rest)
    assert violation.startswith("audience_model_arn: ")
    assert "does not match; pattern: " in violation


S3 = {"resultFormat": "CSV", "bucket": "bucket"}
RECEIVER = {"accountId": "123456789012"}


def build_query_request(output: dict[str, Any]) -> Request:
    arguments = {
        "type": "SQL",
        "membership_identifier": MEMBERSHIP,
        "sql_parameters": {"queryString": "SELECT 1"},
        "result_configuration": {"outputConfiguration": output},
    }
    return Request(load("cleanrooms"), "start_protected_query", arguments)


@pytest.mark.parametrize(
    ("output", "count"),
    [({}, 0), ({"s3": None}, 0), ({"member": "None"}, 0), ({"s3": S3, "member": RECEIVER}, 2)],
)
def test_union_with_no_or_two_members_is_rejected(output: dict[str, Any], count: int) -> None:
    (violation,) = build_query_request(output).violations
    assert str(violation).startswith(
        f"result_configuration.outputConfiguration: {count} members given; exactly one of: s3, member"
    )
    assert violation.path == "result_configuration.outputConfiguration"


def test_union_with_one_member_passes() -> None:
    for output in ({"s3": S3}, {"s3": S3, "member": None}, {"s3": "None", "member": RECEIVER}):
        request = build_query_request(output)
        assert request.violations == []
        assert len(request.members["resultConfiguration"]["outputConfiguration"]) == 1


@pytest.mark.parametrize("service", ["cleanroomsml", "cleanrooms"])
def test_pattern_that_python_cannot_compile_is_not_checked(service: str) -> None:
    model = load(service)
    shapes = [model.shape_for(name) for name in model.shape_names]
    unsupported = [shape for shape in shapes if r"\p{" in shape.metadata.get("pattern", "")]
    assert bool(unsupported) == (service == "cleanrooms")
    for shape in unsupported:
        check = RequestCheck()
        assert check.check_value(shape, "Überblick", "name") == "Überblick"
        assert check.violations == []
    # All other patterns are checked.
    others = [shape for shape in shapes if "pattern" in shape.metadata and shape not in unsupported]
    assert all(re.compile(shape.metadata["pattern"]) for shape in others)
