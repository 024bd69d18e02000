"""Rendering templates as native objects must not alter any text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from itertools import cycle
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import jinja2
import pytest
from botocore import xform_name

from airflow_cleanroomsml._requests.request import Request, load
from airflow_cleanroomsml._requests.sensitive import reveal
from airflow_cleanroomsml.operators import (
    CleanRoomsFindConfiguredAudienceModelOperator,
    CleanRoomsMLCallOperator,
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLCreateConfiguredAudienceModelOperator,
    CleanRoomsMLCreateTrainedModelOperator,
    CleanRoomsMLPutConfiguredAudienceModelPolicyOperator,
    CleanRoomsMLStartAudienceGenerationJobOperator,
)
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator
from airflow_cleanroomsml.sensors import (
    CleanRoomsMLAudienceExportJobSensor,
    CleanRoomsMLNewAudienceGenerationJobsSensor,
)
from tests.helpers.exported_classes import (
    SENSORS,
    every_operation,
    every_sensor,
    find_shape,
    list_arguments,
    list_required,
)
from tests.requests.test_validation import CONFIGURED, CONFIGURED_ARN, DATASET_ARN, JOB

if TYPE_CHECKING:
    from airflow.sdk import DAG
    from airflow.sdk.definitions._internal.templater import LiteralValue
else:
    try:
        from airflow.sdk import DAG
        from airflow.sdk.definitions._internal.templater import LiteralValue
    except ImportError:  # Airflow 2.11
        from airflow.models.dag import DAG
        from airflow.template.templater import LiteralValue
#: Texts that Python reads as another type, or that it would write in another way.
AMBIGUOUS_TEXTS = [
    "2026_02",
    "1_000",
    "0x1F",
    "00",
    "0",
    "1e5",
    "0.10",
    "1.",
    "None",
    "True",
    "[1]",
    "(1)",
    "{'a': 1}",
    "'quoted'",
]
AMBIGUOUS_TEXTS += ['"quoted"', "b'x'", "1j", "...", "-1", "1 + 1j", '"a" "b"', "{1, 2}", " 1", "# comment", "", "()"]
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
every_text = pytest.mark.parametrize("text", AMBIGUOUS_TEXTS)


def build_task(cls: type[Any], *, as_native: bool = True, **arguments: Any) -> Any:
    """Build a task of a Dag that renders native objects."""
    with DAG("d", schedule=None, start_date=START, render_template_as_native_obj=as_native):
        return cls(task_id="t", **arguments)


def build_arguments(names: Iterable[str], value: str) -> dict[str, Any]:
    """Give all of these arguments the same value."""
    return dict.fromkeys(names, value)


def render(task: Any, **params: Any) -> Any:
    task.render_template_fields({"params": params, "macros": SimpleNamespace(json=json)})
    return task


def build_value(shape: Any, texts: Iterator[str]) -> Any:
    """Build a value of a shape, with every member and the next of the texts for each string."""
    kind = shape.type_name
    if kind == "structure":
        return {name: build_value(member, texts) for name, member in shape.members.items()}
    if kind == "list":
        return [build_value(shape.member, texts), build_value(shape.member, texts)]
    if kind == "map":
        return {key: build_value(shape.value, texts) for key in "abcdef"}
    return next(texts) if kind == "string" else {"boolean": True, "timestamp": START}.get(kind, 25)


@every_operation
@pytest.mark.parametrize(
    "form", ["{}", "{{{{ params.x[{!r}] }}}}", "{{# #}}{{{{ params.x[{!r}][:1] }}}}{{{{ params.x[{!r}][1:] }}}}"]
)
def test_request_text_is_unchanged(cls: type[CleanRoomsMLOperator], form: str) -> None:
    shapes = {xform_name(name): member for name, member in find_shape(cls).members.items()}
    for start in range(0, len(AMBIGUOUS_TEXTS), 9):
        texts = cycle([form.format(text, text) for text in AMBIGUOUS_TEXTS[start:] + AMBIGUOUS_TEXTS[:start]])
        arguments = {name: build_value(shapes[name], texts) for name in cls.arguments if name in shapes}
        params = dict(zip(AMBIGUOUS_TEXTS, AMBIGUOUS_TEXTS, strict=True))
        expected = render(build_task(cls, as_native=False, **arguments), x=params).request
        assert render(build_task(cls, **arguments), x=params).request == expected


@every_sensor
def test_sensor_text_is_unchanged(cls: type[Any]) -> None:
    names = [name for name in list_arguments(cls) if name not in ("goal", "audience_size", "since", "finished")]
    for text in AMBIGUOUS_TEXTS:
        arguments = {**build_arguments(list_required(cls), text), **build_arguments(names, text)}
        task = render(build_task(cls, **arguments))
        assert {name: getattr(task, name) for name in names} == build_arguments(names, text)


def test_sensor_arguments_have_shapes() -> None:
    for cls in SENSORS:
        task = build_task(cls, **build_arguments(list_required(cls), "x"))
        assert set(task.template_fields) - {"verify", "finished"} <= set(task._find_field_shapes())


@every_text
def test_connection_text_is_unchanged(text: str) -> None:
    for cls in (CleanRoomsMLAudienceExportJobSensor, CleanRoomsFindConfiguredAudienceModelOperator):
        arguments = build_arguments(list_required(cls), text)
        task = render(build_task(cls, aws_conn_id=text, region_name="{{ params.x }}", **arguments), x=text)
        assert (task.aws_conn_id, task.region_name) == (text, text)


@every_text
def test_lookup_text_is_unchanged(text: str) -> None:
    names = list_required(CleanRoomsFindConfiguredAudienceModelOperator) | {"association_name", "creator_account_id"}
    task = render(build_task(CleanRoomsFindConfiguredAudienceModelOperator, **build_arguments(names, text)))
    assert {name: getattr(task, name) for name in names} == build_arguments(names, text)


@every_text
def test_call_text_is_unchanged(text: str) -> None:
    parameters = {
        **CONFIGURED,
        "name": text,
        "tags": {"k": text, "l": "{{ params.x }}"},
        "shared_audience_metrics": [text, "{{ params.x }}"],
        "min_matching_seed_size": "{{ params.size }}",
    }
    call = build_task(
        CleanRoomsMLCallOperator,
        operation="{{ params.operation }}_configured_audience_model",
        parameters=parameters,
        jmespath=text,
        service="cleanrooms{{ params.suffix }}",
    )
    render(call, x=text, size=25, operation="create", suffix="ml")
    rendered = reveal(call.parameters)
    assert (rendered["name"], rendered["tags"], rendered["shared_audience_metrics"]) == (
        text,
        {"k": text, "l": text},
        [text] * 2,
    )
    assert (rendered["min_matching_seed_size"], call.jmespath, call.service) == (25, text, "cleanroomsml")


def test_parameters_of_unknown_operation_are_rendered() -> None:
    call = render(
        build_task(CleanRoomsMLCallOperator, operation="nothing", parameters={"name": "{{ params.x }}"}), x="y"
    )
    assert reveal(call.parameters) == {"name": "y"}


def build_training_task(**more: Any) -> Any:
    return build_task(
        CleanRoomsMLCreateTrainedModelOperator,
        **{
            "membership_identifier": "m",
            "name": "n",
            "configured_model_algorithm_association_arn": "a",
            "resource_config": {"instanceType": "ml.m5.xlarge", "volumeSizeInGB": 1},
            "data_channels": [],
            **more,
        },
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [("0.1", "0.1"), (0.1, "0.1"), (True, "True"), (3, "3"), ("", ""), ([1], "[1]"), ({"a": 1}, "{'a': 1}")],
)
def test_value_of_expression_becomes_text(value: Any, text: str) -> None:
    task = render(
        build_training_task(hyperparameters={"lr": "{{ params.x }}"}, environment={"LR": "{{ params.x }}"}), x=value
    )
    assert (task.hyperparameters, reveal(task.environment)) == ({"lr": text}, {"LR": text})


def test_expression_for_none_omits_member() -> None:
    task = render(
        build_training_task(description="{{ params.x }}", tags="{{ params.x }}", stopping_condition="{{ params.x }}"),
        x=None,
    )
    assert not {"description", "tags", "stopping_condition"} & set(task.request)
    task = render(
        build_training_task(description="{{ params.x }}!", tags="{% if params.x %}{'a': 'b'}{% endif %}"), x=None
    )
    assert task.request["description"] == "None!"
    assert "tags" not in task.request


def test_other_members_keep_native_values() -> None:
    channels, tags = [{"mlInputChannelArn": "a", "channelName": "00"}], {"year": "2026_02"}
    task = build_training_task(
        data_channels="{{ params.channels }}",
        tags="{{ params.tags }}",
        resource_config={"instanceType": "{{ params.type }}", "volumeSizeInGB": "{{ params.size }}"},
        stopping_condition="{{ params.condition }}",
    )
    condition = {"maxRuntimeInSeconds": 60}
    render(task, channels=channels, tags=tags, type="ml.m5.xlarge", size=30, condition=condition)
    assert (task.data_channels, task.tags, task.stopping_condition) == (channels, tags, condition)
    assert task.resource_config == {"instanceType": "ml.m5.xlarge", "volumeSizeInGB": 30}


def convert_arguments(task: Any) -> dict[str, Any]:
    request = Request(load(task.service), task.operation, task.request)
    request.raise_for_violations()
    return request.arguments


@pytest.mark.parametrize("as_native", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [
        {"tags": '{"a": "2026_02", "b": {{ params.emoji | tojson }}}'},
        {"tags": "{'a': '2026_02', 'b': '{{ params.emoji }}'}"},
        {"tags": "{{ params.tags }}"},
        {"tags": " {{ params.tags }} "},
        {"tags": "{{ params.tags | tojson }}"},
        {"tags": {"a": "{{ '2026_02' }}", "b": "{{ params.emoji }}"}},
        {"tags": {"a": "{% set x %}2026_02{% endset %}{{ x }}", "b": "{{ params.emoji }}"}},
        {"tags": {"a": "{% macro m() %}2026_02{% endmacro %}{{ m() }}", "b": "{{ params.emoji }}"}},
        {"tags": {"a": "{% filter lower %}2026_02{% endfilter %}", "b": "{{ params.emoji }}"}},
    ],
)
def test_request_is_same_in_either_dag(arguments: dict[str, Any], as_native: bool) -> None:
    emoji = "😀 'x' é"
    tags = {"a": "2026_02", "b": emoji if "'{{" not in str(arguments["tags"]) else "😀"}
    task = build_task(
        CleanRoomsMLCreateConfiguredAudienceModelOperator, as_native=as_native, **{**CONFIGURED, **arguments}
    )
    assert convert_arguments(render(task, emoji=tags["b"], tags=tags))["tags"] == tags


@pytest.mark.parametrize("as_native", [False, True])
def test_duplicate_key_is_rejected_in_either_dag(as_native: bool) -> None:
    arguments = {**CONFIGURED, "tags": '{"a": "{{ params.x }}", "a": "c"}'}
    task = render(
        build_task(CleanRoomsMLCreateConfiguredAudienceModelOperator, as_native=as_native, **arguments), x="b"
    )
    (violation,) = Request(load(), task.operation, task.request).violations
    assert str(violation) == "tags key 'a': given more than once; allowed: once"


POLICY = {"Version": "2012-10-17", "Statement": [{"Sid": "2026_02", "Effect": "Allow"}]}
SID = {**POLICY, "Statement": [{"Sid": "{{ params.sid }}", "Effect": "Allow"}]}


@pytest.mark.parametrize("as_native", [False, True])
@pytest.mark.parametrize(
    "policy",
    ["{{ params.policy }}", "{{ params.policy | tojson }}", json.dumps(POLICY), json.dumps(SID), str(SID), POLICY, SID],
)
def test_policy_becomes_json(policy: Any, as_native: bool) -> None:
    arguments = {"configured_audience_model_arn": CONFIGURED_ARN, "configured_audience_model_policy": policy}
    task = build_task(CleanRoomsMLPutConfiguredAudienceModelPolicyOperator, as_native=as_native, **arguments)
    text = convert_arguments(render(task, policy=POLICY, sid="2026_02"))["configured_audience_model_policy"]
    assert json.loads(text) == POLICY


@pytest.mark.parametrize("as_native", [False, True])
@pytest.mark.parametrize(
    "time", ["20261124", "2026-11-24", "{{ params.nodash }}", "{{ params.time }}", "{{ params.seconds }}"]
)
def test_time_is_same_in_either_dag(time: str, as_native: bool) -> None:
    arguments = {"name": "n", "training_dataset_arn": DATASET_ARN, "training_data_start_time": time}
    task = build_task(CleanRoomsMLCreateAudienceModelOperator, as_native=as_native, **arguments)
    moment = datetime(2026, 11, 24, tzinfo=timezone.utc)
    render(task, nodash="20261124", time=moment, seconds=moment.timestamp())
    assert convert_arguments(task)["training_data_start_time"] == moment


def test_sensor_time_is_unchanged() -> None:
    sensor = render(
        build_task(CleanRoomsMLNewAudienceGenerationJobsSensor, since="20261124", started_by="000000000012")
    )
    assert (sensor.since, sensor.started_by) == ("20261124", "000000000012")


def test_numbers_can_be_native() -> None:
    arguments = {**CONFIGURED, "min_matching_seed_size": "1_000"}
    assert (
        render(build_task(CleanRoomsMLCreateConfiguredAudienceModelOperator, **arguments)).min_matching_seed_size
        == 1000
    )
    sensor = build_task(
        CleanRoomsMLAudienceExportJobSensor,
        audience_generation_job_arn="a",
        name="00",
        audience_size={"type": "{{ params.type }}", "value": "{{ params.value }}"},
    )
    assert render(sensor, type="ABSOLUTE", value=10).audience_size == {"type": "ABSOLUTE", "value": 10}
    job = {**JOB, "include_seed_in_output": "{{ params.x }}"}
    assert (
        render(build_task(CleanRoomsMLStartAudienceGenerationJobOperator, **job), x=False).include_seed_in_output
        is False
    )


def test_values_without_template_are_kept() -> None:
    arguments = {"hyperparameters": {"a": LiteralValue("{{ x }} 00"), "b": 3, "c": None}, "data_channels": ()}
    task = render(build_training_task(**arguments))
    assert task.hyperparameters == {"a": "{{ x }} 00", "b": 3, "c": None}
    assert list(task.data_channels) == []


def test_result_of_callable_is_kept() -> None:
    def build_hyperparameters(context: Any, **_: Any) -> dict[str, Any]:
        return {"lr": context["params"]["x"]}

    task = render(build_training_task(hyperparameters=build_hyperparameters), x="0.1")
    assert task.hyperparameters == {"lr": "0.1"}


def test_xcom_is_not_rendered_or_altered() -> None:
    with DAG("d", schedule=None, start_date=START, render_template_as_native_obj=True):
        before = CleanRoomsMLCallOperator(task_id="before", operation="list_audience_models")
        task: Any = CleanRoomsMLCreateConfiguredAudienceModelOperator(
            task_id="t", **{**CONFIGURED, "name": before.output, "tags": {"year": before.output["name"]}}
        )
    xcoms = {"return_value": "2026_02", "name": "{{ 00 }}"}
    ti = SimpleNamespace(
        run_id="r",
        task_id="t",
        xcom_pull=lambda key, **_: xcoms[key],
        get_relevant_upstream_map_indexes=lambda *_, **__: None,  # called by Airflow 2.11
    )
    task.render_template_fields({"ti": ti, "task_instance": ti, "params": {}, "expanded_ti_count": None})
    assert (task.name, task.tags) == ("2026_02", {"year": "{{ 00 }}"})


def test_mapped_texts_are_not_rendered() -> None:
    with DAG("d", schedule=None, start_date=START, render_template_as_native_obj=True):
        mapped = CleanRoomsMLCallOperator.partial(task_id="t", operation="tag_resource", jmespath="[0]").expand(
            parameters=[{"tags": {"a": "{{ 1 + 1 }}"}}]
        )
    parameters = {"tags": {"a": "{{ 1 + 1 }}", "b": "00"}}
    task: Any = mapped.unmap({"parameters": parameters})
    # Airflow renders a mapped task like this: it marks the mapped values as seen so that they are not rendered.
    seen = {id(parameters)}
    fields = ("operation", "parameters", "jmespath")
    task._do_render_template_fields(task, fields, {"params": {}}, task.get_template_env(), seen)
    assert (reveal(task.parameters), task.jmespath) == (parameters, "[0]")
    task = mapped.unmap({"parameters": {"tags": {"a": "{{ 1 + 1 }}", "b": "00"}}})
    task._do_render_template_fields(task, fields, {"params": {}}, task.get_template_env(), set())
    assert reveal(task.parameters) == {"tags": {"a": "2", "b": "00"}}


def test_undefined_name_fails_and_is_logged(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in ({"name": "{{ nothing }}"}, {"tags": {"a": "{{ nothing.there }}"}}, {"tags": "{{ nothing }}"}):
        task = build_task(CleanRoomsMLCreateConfiguredAudienceModelOperator, **{**CONFIGURED, **arguments})
        with pytest.raises(jinja2.UndefinedError, match="nothing"):
            render(task)
    assert "field 'tags'" in caplog.text + "".join(capsys.readouterr())


def test_undefined_names_can_be_allowed() -> None:
    lenient: Any = jinja2.Undefined
    with DAG(
        "d",
        schedule=None,
        start_date=START,
        render_template_as_native_obj=True,
        template_undefined=lenient,
        user_defined_macros={"macro": lambda: "00"},
        user_defined_filters={"twice": lambda text: text * 2},
    ):
        task: Any = CleanRoomsMLCreateConfiguredAudienceModelOperator(
            task_id="t",
            **{
                **CONFIGURED,
                "name": "{{ nothing }}",
                "tags": {"a": "{{ macro() | twice }}"},
                "description": "{{ macro() }}",
            },
        )
    render(task)
    assert (task.name, task.tags, task.description) == ("", {"a": "0000"}, "00")


@pytest.mark.skipif(
    not hasattr(CleanRoomsMLCallOperator, "render_template_as_native_obj"),
    reason="only Dags have this setting before Airflow 3.2",
)
def test_task_can_be_native_itself() -> None:
    arguments = {**CONFIGURED, "name": "00", "render_template_as_native_obj": True}
    assert (
        render(build_task(CleanRoomsMLCreateConfiguredAudienceModelOperator, as_native=False, **arguments)).name == "00"
    )


class FromFile(CleanRoomsMLCreateConfiguredAudienceModelOperator):
    template_ext = (".txt",)


def test_text_can_come_from_file(tmp_path: Any) -> None:
    (tmp_path / "name.txt").write_text("2026_{{ params.month }}")
    with DAG(
        "d", schedule=None, start_date=START, render_template_as_native_obj=True, template_searchpath=[str(tmp_path)]
    ):
        task: Any = FromFile(task_id="t", **{**CONFIGURED, "name": "name.txt"})
    assert render(task, month="02").name == "2026_02"
