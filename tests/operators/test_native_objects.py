"""A Dag that renders templates as native objects alters no text."""

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
#: What Python reads as something else, or as something that is written in another way.
ALTERED = [
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
ALTERED += ['"quoted"', "b'x'", "1j", "...", "-1", "1 + 1j", '"a" "b"', "{1, 2}", " 1", "# comment", "", "()"]
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
texts = pytest.mark.parametrize("text", ALTERED)


def native(cls: type[Any], *, as_native: bool = True, **given: Any) -> Any:
    """A task of a Dag that renders native objects."""
    with DAG("d", schedule=None, start_date=START, render_template_as_native_obj=as_native):
        return cls(task_id="t", **given)


def all_of(names: Iterable[str], value: str) -> dict[str, Any]:
    """The same value for all of these arguments."""
    return dict.fromkeys(names, value)


def rendered(task: Any, **params: Any) -> Any:
    task.render_template_fields({"params": params, "macros": SimpleNamespace(json=json)})
    return task


def filled(shape: Any, texts: Iterator[str]) -> Any:
    """A value of a shape with every member there is, and a text of these for each text in it."""
    kind = shape.type_name
    if kind == "structure":
        return {name: filled(member, texts) for name, member in shape.members.items()}
    if kind == "list":
        return [filled(shape.member, texts), filled(shape.member, texts)]
    if kind == "map":
        return {key: filled(shape.value, texts) for key in "abcdef"}
    return next(texts) if kind == "string" else {"boolean": True, "timestamp": START}.get(kind, 25)


@every_operation
@pytest.mark.parametrize(
    "form", ["{}", "{{{{ params.x[{!r}] }}}}", "{{# #}}{{{{ params.x[{!r}][:1] }}}}{{{{ params.x[{!r}][1:] }}}}"]
)
def test_no_text_of_a_request_is_altered(cls: type[CleanRoomsMLOperator], form: str) -> None:
    given = {xform_name(name): member for name, member in find_shape(cls).members.items()}
    for begin in range(0, len(ALTERED), 9):
        texts = cycle([form.format(text, text) for text in ALTERED[begin:] + ALTERED[:begin]])
        arguments = {name: filled(given[name], texts) for name in cls.arguments if name in given}
        params = dict(zip(ALTERED, ALTERED, strict=True))
        expected = rendered(native(cls, as_native=False, **arguments), x=params).request
        assert rendered(native(cls, **arguments), x=params).request == expected


@every_sensor
def test_no_text_that_a_sensor_looks_for_is_altered(cls: type[Any]) -> None:
    names = [name for name in list_arguments(cls) if name not in ("goal", "audience_size", "since", "finished")]
    for text in ALTERED:
        given = {**all_of(list_required(cls), text), **all_of(names, text)}
        task = rendered(native(cls, **given))
        assert {name: getattr(task, name) for name in names} == all_of(names, text)


def test_every_argument_of_a_sensor_has_a_shape() -> None:
    for cls in SENSORS:
        task = native(cls, **all_of(list_required(cls), "x"))
        assert set(task.template_fields) - {"verify", "finished"} <= set(task._find_field_shapes())


@texts
def test_no_text_of_a_connection_is_altered(text: str) -> None:
    for cls in (CleanRoomsMLAudienceExportJobSensor, CleanRoomsFindConfiguredAudienceModelOperator):
        given = all_of(list_required(cls), text)
        task = rendered(native(cls, aws_conn_id=text, region_name="{{ params.x }}", **given), x=text)
        assert (task.aws_conn_id, task.region_name) == (text, text)


@texts
def test_no_text_of_a_lookup_is_altered(text: str) -> None:
    names = list_required(CleanRoomsFindConfiguredAudienceModelOperator) | {"association_name", "creator_account_id"}
    task = rendered(native(CleanRoomsFindConfiguredAudienceModelOperator, **all_of(names, text)))
    assert {name: getattr(task, name) for name in names} == all_of(names, text)


@texts
def test_no_text_of_any_call_is_altered(text: str) -> None:
    parameters = {
        **CONFIGURED,
        "name": text,
        "tags": {"k": text, "l": "{{ params.x }}"},
        "shared_audience_metrics": [text, "{{ params.x }}"],
        "min_matching_seed_size": "{{ params.size }}",
    }
    call = native(
        CleanRoomsMLCallOperator,
        operation="{{ params.operation }}_configured_audience_model",
        parameters=parameters,
        jmespath=text,
        service="cleanrooms{{ params.suffix }}",
    )
    rendered(call, x=text, size=25, operation="create", suffix="ml")
    found = reveal(call.parameters)
    assert (found["name"], found["tags"], found["shared_audience_metrics"]) == (
        text,
        {"k": text, "l": text},
        [text] * 2,
    )
    assert (found["min_matching_seed_size"], call.jmespath, call.service) == (25, text, "cleanroomsml")


def test_an_operation_that_is_not_there_is_rendered_all_the_same() -> None:
    call = rendered(native(CleanRoomsMLCallOperator, operation="nothing", parameters={"name": "{{ params.x }}"}), x="y")
    assert reveal(call.parameters) == {"name": "y"}


def model(**given: Any) -> Any:
    return native(
        CleanRoomsMLCreateTrainedModelOperator,
        **{
            "membership_identifier": "m",
            "name": "n",
            "configured_model_algorithm_association_arn": "a",
            "resource_config": {"instanceType": "ml.m5.xlarge", "volumeSizeInGB": 1},
            "data_channels": [],
            **given,
        },
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [("0.1", "0.1"), (0.1, "0.1"), (True, "True"), (3, "3"), ("", ""), ([1], "[1]"), ({"a": 1}, "{'a': 1}")],
)
def test_what_an_expression_gives_for_a_text_is_its_text(value: Any, text: str) -> None:
    task = rendered(model(hyperparameters={"lr": "{{ params.x }}"}, environment={"LR": "{{ params.x }}"}), x=value)
    assert (task.hyperparameters, reveal(task.environment)) == ({"lr": text}, {"LR": text})


def test_an_expression_that_gives_none_gives_nothing() -> None:
    task = rendered(
        model(description="{{ params.x }}", tags="{{ params.x }}", stopping_condition="{{ params.x }}"), x=None
    )
    assert not {"description", "tags", "stopping_condition"} & set(task.request)
    task = rendered(model(description="{{ params.x }}!", tags="{% if params.x %}{'a': 'b'}{% endif %}"), x=None)
    assert task.request["description"] == "None!"
    assert "tags" not in task.request


def test_other_members_keep_what_their_expressions_give() -> None:
    channels, tags = [{"mlInputChannelArn": "a", "channelName": "00"}], {"year": "2026_02"}
    task = model(
        data_channels="{{ params.channels }}",
        tags="{{ params.tags }}",
        resource_config={"instanceType": "{{ params.type }}", "volumeSizeInGB": "{{ params.size }}"},
        stopping_condition="{{ params.condition }}",
    )
    condition = {"maxRuntimeInSeconds": 60}
    rendered(task, channels=channels, tags=tags, type="ml.m5.xlarge", size=30, condition=condition)
    assert (task.data_channels, task.tags, task.stopping_condition) == (channels, tags, condition)
    assert task.resource_config == {"instanceType": "ml.m5.xlarge", "volumeSizeInGB": 30}


def typed(task: Any) -> dict[str, Any]:
    request = Request(load(task.service), task.operation, task.request)
    request.raise_for_violations()
    return request.arguments


@pytest.mark.parametrize("as_native", [False, True])
@pytest.mark.parametrize(
    "given",
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
def test_a_request_is_the_same_in_either_dag(given: dict[str, Any], as_native: bool) -> None:
    emoji = "😀 'x' é"
    tags = {"a": "2026_02", "b": emoji if "'{{" not in str(given["tags"]) else "😀"}
    task = native(CleanRoomsMLCreateConfiguredAudienceModelOperator, as_native=as_native, **{**CONFIGURED, **given})
    assert typed(rendered(task, emoji=tags["b"], tags=tags))["tags"] == tags


@pytest.mark.parametrize("as_native", [False, True])
def test_a_key_that_a_text_has_twice_is_refused_in_either_dag(as_native: bool) -> None:
    given = {**CONFIGURED, "tags": '{"a": "{{ params.x }}", "a": "c"}'}
    task = rendered(native(CleanRoomsMLCreateConfiguredAudienceModelOperator, as_native=as_native, **given), x="b")
    (violation,) = Request(load(), task.operation, task.request).violations
    assert str(violation) == "tags key 'a': given more than once; allowed: once"


POLICY = {"Version": "2012-10-17", "Statement": [{"Sid": "2026_02", "Effect": "Allow"}]}
SID = {**POLICY, "Statement": [{"Sid": "{{ params.sid }}", "Effect": "Allow"}]}


@pytest.mark.parametrize("as_native", [False, True])
@pytest.mark.parametrize(
    "policy",
    ["{{ params.policy }}", "{{ params.policy | tojson }}", json.dumps(POLICY), json.dumps(SID), str(SID), POLICY, SID],
)
def test_a_policy_is_its_json(policy: Any, as_native: bool) -> None:
    given = {"configured_audience_model_arn": CONFIGURED_ARN, "configured_audience_model_policy": policy}
    task = native(CleanRoomsMLPutConfiguredAudienceModelPolicyOperator, as_native=as_native, **given)
    found = typed(rendered(task, policy=POLICY, sid="2026_02"))["configured_audience_model_policy"]
    assert json.loads(found) == POLICY


@pytest.mark.parametrize("as_native", [False, True])
@pytest.mark.parametrize(
    "time", ["20261124", "2026-11-24", "{{ params.nodash }}", "{{ params.time }}", "{{ params.seconds }}"]
)
def test_a_time_is_read_as_in_any_dag(time: str, as_native: bool) -> None:
    given = {"name": "n", "training_dataset_arn": DATASET_ARN, "training_data_start_time": time}
    task = native(CleanRoomsMLCreateAudienceModelOperator, as_native=as_native, **given)
    moment = datetime(2026, 11, 24, tzinfo=timezone.utc)
    rendered(task, nodash="20261124", time=moment, seconds=moment.timestamp())
    assert typed(task)["training_data_start_time"] == moment


def test_a_sensor_looks_from_the_time_that_is_meant() -> None:
    sensor = rendered(native(CleanRoomsMLNewAudienceGenerationJobsSensor, since="20261124", started_by="000000000012"))
    assert (sensor.since, sensor.started_by) == ("20261124", "000000000012")


def test_numbers_may_stay_native() -> None:
    given = {**CONFIGURED, "min_matching_seed_size": "1_000"}
    assert rendered(native(CleanRoomsMLCreateConfiguredAudienceModelOperator, **given)).min_matching_seed_size == 1000
    sensor = native(
        CleanRoomsMLAudienceExportJobSensor,
        audience_generation_job_arn="a",
        name="00",
        audience_size={"type": "{{ params.type }}", "value": "{{ params.value }}"},
    )
    assert rendered(sensor, type="ABSOLUTE", value=10).audience_size == {"type": "ABSOLUTE", "value": 10}
    job = {**JOB, "include_seed_in_output": "{{ params.x }}"}
    assert (
        rendered(native(CleanRoomsMLStartAudienceGenerationJobOperator, **job), x=False).include_seed_in_output is False
    )


def test_what_is_no_template_stays_what_it_is() -> None:
    given = {"hyperparameters": {"a": LiteralValue("{{ x }} 00"), "b": 3, "c": None}, "data_channels": ()}
    task = rendered(model(**given))
    assert task.hyperparameters == {"a": "{{ x }} 00", "b": 3, "c": None}
    assert list(task.data_channels) == []


def test_a_callable_gives_what_it_gives() -> None:
    def given(context: Any, **_: Any) -> dict[str, Any]:
        return {"lr": context["params"]["x"]}

    task = rendered(model(hyperparameters=given), x="0.1")
    assert task.hyperparameters == {"lr": "0.1"}


def test_what_another_task_has_sent_is_neither_a_template_nor_altered() -> None:
    with DAG("d", schedule=None, start_date=START, render_template_as_native_obj=True):
        before = CleanRoomsMLCallOperator(task_id="before", operation="list_audience_models")
        task: Any = CleanRoomsMLCreateConfiguredAudienceModelOperator(
            task_id="t", **{**CONFIGURED, "name": before.output, "tags": {"year": before.output["name"]}}
        )
    sent = {"return_value": "2026_02", "name": "{{ 00 }}"}
    ti = SimpleNamespace(
        run_id="r",
        task_id="t",
        xcom_pull=lambda key, **_: sent[key],
        get_relevant_upstream_map_indexes=lambda *_, **__: None,  # asked by Airflow 2.11
    )
    task.render_template_fields({"ti": ti, "task_instance": ti, "params": {}, "expanded_ti_count": None})
    assert (task.name, task.tags) == ("2026_02", {"year": "{{ 00 }}"})


def test_a_mapped_task_gets_its_texts_as_they_are() -> None:
    with DAG("d", schedule=None, start_date=START, render_template_as_native_obj=True):
        mapped = CleanRoomsMLCallOperator.partial(task_id="t", operation="tag_resource", jmespath="[0]").expand(
            parameters=[{"tags": {"a": "{{ 1 + 1 }}"}}]
        )
    given = {"tags": {"a": "{{ 1 + 1 }}", "b": "00"}}
    task: Any = mapped.unmap({"parameters": given})
    # As Airflow renders a mapped task: what was resolved from elsewhere has been seen.
    seen = {id(given)}
    fields = ("operation", "parameters", "jmespath")
    task._do_render_template_fields(task, fields, {"params": {}}, task.get_template_env(), seen)
    assert (reveal(task.parameters), task.jmespath) == (given, "[0]")
    task = mapped.unmap({"parameters": {"tags": {"a": "{{ 1 + 1 }}", "b": "00"}}})
    task._do_render_template_fields(task, fields, {"params": {}}, task.get_template_env(), set())
    assert reveal(task.parameters) == {"tags": {"a": "2", "b": "00"}}


def test_what_is_not_defined_is_told_as_in_any_dag(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    for given in ({"name": "{{ nothing }}"}, {"tags": {"a": "{{ nothing.there }}"}}, {"tags": "{{ nothing }}"}):
        task = native(CleanRoomsMLCreateConfiguredAudienceModelOperator, **{**CONFIGURED, **given})
        with pytest.raises(jinja2.UndefinedError, match="nothing"):
            rendered(task)
    assert "field 'tags'" in caplog.text + "".join(capsys.readouterr())


def test_undefined_names_may_be_allowed() -> None:
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
    rendered(task)
    assert (task.name, task.tags, task.description) == ("", {"a": "0000"}, "00")


@pytest.mark.skipif(
    not hasattr(CleanRoomsMLCallOperator, "render_template_as_native_obj"),
    reason="a setting of Dags alone before Airflow 3.2",
)
def test_a_task_may_say_it_for_itself() -> None:
    given = {**CONFIGURED, "name": "00", "render_template_as_native_obj": True}
    assert rendered(native(CleanRoomsMLCreateConfiguredAudienceModelOperator, as_native=False, **given)).name == "00"


class FromFile(CleanRoomsMLCreateConfiguredAudienceModelOperator):
    template_ext = (".txt",)


def test_a_text_may_come_from_a_file(tmp_path: Any) -> None:
    (tmp_path / "name.txt").write_text("2026_{{ params.month }}")
    with DAG(
        "d", schedule=None, start_date=START, render_template_as_native_obj=True, template_searchpath=[str(tmp_path)]
    ):
        task: Any = FromFile(task_id="t", **{**CONFIGURED, "name": "name.txt"})
    assert rendered(task, month="02").name == "2026_02"
