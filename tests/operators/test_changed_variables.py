"""A resumed task renders its templates again and may get another request than that of its job: errors must quote neither."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certifi
import pytest

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._compat import TaskDeferred
from airflow_cleanroomsml._requests.redaction import UNKNOWN
from airflow_cleanroomsml._waiting.wait import Wait
from airflow_cleanroomsml.exceptions import JobFailedError, WaitTimeoutError
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCancelTrainedModelOperator,
    CleanRoomsMLCreateMLInputChannelOperator,
    CleanRoomsMLCreateTrainedModelOperator,
    CleanRoomsMLStartAudienceGenerationJobOperator,
    CleanRoomsMLStartTrainedModelInferenceJobOperator,
)
from airflow_cleanroomsml.sensors import CleanRoomsMLMLInputChannelSensor
from airflow_cleanroomsml.sensors._errors import SensorTimeoutError
from tests.helpers.custom_models import Studio
from tests.support import TaskInstance, resume, run

OLD = {
    "query": "SELECT marker_of_the_query FROM events WHERE clicks > 3",
    "value": "value_of_the_old",
    "template": "",
}
NEW = {"query": "SELECT 1", "value": "another", "template": ""}
MARKERS = ("marker_of_the_query", "value_of_the_old")
#: Messages of the service. Of a query in an analysis template, the task knows only the parameters.
MESSAGE = f"near '{OLD['query']}' with {OLD['value']}"
MESSAGE_OF_TEMPLATE = f"near {OLD['value']}"
TEMPLATE = "arn:aws:cleanrooms:us-east-1:123456789012:membership/{0}/analysistemplate/{0}".format(
    "01234567-89ab-cdef-0123-456789abcdef"
)
SQL = {"queryString": "{{ params.query }}", "parameters": {"limit": "{{ params.value }}"}}
BY_TEMPLATE = {"analysisTemplateArn": TEMPLATE, "parameters": {"limit": "{{ params.value }}"}}


def create_ready_channel(studio: Studio, **more: Any) -> str:
    """Create an ACTIVE channel, in an emulator whose jobs end only when its clock is advanced."""
    response = studio.ml.create_ml_input_channel(
        **studio.of,
        name="ready",
        configuredModelAlgorithmAssociations=[studio.association],
        inputChannel=studio.build_input_channel(),
        retentionInDays=30,
        **more,
    )
    studio.world.emulator.advance(1100)
    return str(response["mlInputChannelArn"])


def prepare_channel(studio: Studio, sql: Any) -> Callable[[], Any]:
    studio.world.add_fault(
        "CreateMLInputChannel",
        "fail_job",
        code="QUERY_FAILED",
        message=MESSAGE_OF_TEMPLATE if sql is BY_TEMPLATE else MESSAGE,
    )
    association = studio.association
    return lambda: CleanRoomsMLCreateMLInputChannelOperator(
        task_id="t",
        name="channel",
        configured_model_algorithm_associations=[association],
        retention_in_days=1,
        deferrable=True,
        input_channel={
            "dataSource": {"protectedQueryInputParameters": {"sqlParameters": sql}},
            "roleArn": studio.world.role,
        },
        **studio.soon,
    )


def prepare_segment(studio: Studio, sql: Any) -> Callable[[], Any]:
    model = studio.world.ml.create_audience_model(name="m", trainingDatasetArn=studio.world.create_dataset())
    studio.world.emulator.advance(1100)
    studio.world.wait(model["audienceModelArn"])
    terms = studio.world.ml.create_configured_audience_model(
        name="terms",
        audienceModelArn=model["audienceModelArn"],
        outputConfig=studio.world.output,
        sharedAudienceMetrics=["ALL"],
    )
    studio.world.add_fault(
        "StartAudienceGenerationJob",
        "fail_job",
        code="QUERY_FAILED",
        message=MESSAGE_OF_TEMPLATE if sql is BY_TEMPLATE else MESSAGE,
    )
    return lambda: CleanRoomsMLStartAudienceGenerationJobOperator(
        task_id="t",
        name="segment",
        configured_audience_model_arn=terms["configuredAudienceModelArn"],
        collaboration_id=studio.collaboration.id,
        deferrable=True,
        seed_audience={"sqlParameters": sql, "roleArn": studio.world.role},
        waiter_delay=0.2,
    )


ENVIRONMENT = {"PASSWORD": "{{ params.value }}", "QUERY": "{{ params.query }}"}


def prepare_training(studio: Studio, environment: Any) -> Callable[[], Any]:
    arguments = studio.build_training(channel=create_ready_channel(studio), environment=environment, deferrable=True)
    studio.world.add_fault("CreateTrainedModel", "fail_job", code="ALGORITHM_ERROR", message=MESSAGE)
    return lambda: CleanRoomsMLCreateTrainedModelOperator(**arguments)


def prepare_inference(studio: Studio, environment: Any) -> Callable[[], Any]:
    channel = create_ready_channel(studio)
    model = studio.ml.create_trained_model(
        **studio.of,
        name="model",
        configuredModelAlgorithmAssociationArn=studio.association,
        resourceConfig={"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30},
        dataChannels=[{"mlInputChannelArn": channel, "channelName": "training"}],
    )
    studio.world.emulator.advance(1100)
    vars(studio).update(model=model["trainedModelArn"], channel=channel)
    arguments = studio.build_inference(environment=environment, deferrable=True)
    studio.world.add_fault("StartTrainedModelInferenceJob", "fail_job", code="ALGORITHM_ERROR", message=MESSAGE)
    return lambda: CleanRoomsMLStartTrainedModelInferenceJobOperator(**arguments)


every_job = pytest.mark.parametrize(
    ("prepare", "confidential"),
    [
        pytest.param(prepare_channel, SQL, id="channel"),
        pytest.param(prepare_channel, BY_TEMPLATE, id="channel by template"),
        pytest.param(prepare_channel, "{{ params.sql | tojson }}", id="channel as JSON"),
        pytest.param(prepare_segment, SQL, id="segment"),
        pytest.param(prepare_segment, BY_TEMPLATE, id="segment by template"),
        pytest.param(prepare_training, ENVIRONMENT, id="training"),
        pytest.param(prepare_inference, ENVIRONMENT, id="inference"),
    ],
)


@pytest.fixture
def collect_output(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[..., str]:
    """Return a function that collects what was logged and printed, and its arguments as text."""
    caplog.set_level("INFO")
    return lambda *more: caplog.text + "".join(capsys.readouterr()) + " ".join(map(str, more))


def build_context(params: Any, ti: TaskInstance) -> dict[str, Any]:
    sql = {"queryString": params["query"], "parameters": {"limit": params["value"]}}
    return {"params": {**params, "sql": sql}, "ti": ti}


def defer(make: Callable[[], Any], ti: TaskInstance, params: Any = OLD) -> BaseException:
    """Run a task until it defers, and return the deferral."""
    task = make()
    task.render_template_fields(build_context(params, ti))
    with pytest.raises(TaskDeferred) as caught:
        task.execute(build_context(params, ti))
    return caught.value


def resume_in_new_operator(make: Callable[[], Any], deferral: Any, ti: TaskInstance, params: Any = NEW) -> Any:
    """Resume a deferral with a new operator, as another process does."""
    task = make()
    task.render_template_fields(build_context(params, ti))
    return resume(task, deferral, build_context(params, ti))


@every_job
def test_old_request_is_not_quoted_after_deferral(
    slow_studio: Studio, collect_output: Callable[..., str], prepare: Any, confidential: Any
) -> None:
    make, ti = prepare(slow_studio, confidential), TaskInstance()
    deferral = defer(make, ti)
    slow_studio.world.emulator.advance(1100)
    with pytest.raises(JobFailedError) as caught:
        resume_in_new_operator(make, deferral, ti)
    output = collect_output(
        caught.value, vars(caught.value), ti.pushed, caught.value.__cause__, caught.value.__context__
    )
    assert [marker for marker in MARKERS if marker in output] == []
    assert "CREATE_FAILED" in output
    assert str(caught.value).count("ERROR") + str(caught.value).count("FAILED") >= 2


@every_job
def test_old_request_is_not_quoted_if_job_fails_at_last_moment(
    slow_studio: Studio, collect_output: Callable[..., str], prepare: Any, confidential: Any
) -> None:
    make, ti = prepare(slow_studio, confidential), TaskInstance()

    def short() -> Any:
        task = make()
        task.waiter_delay, task.waiter_max_attempts = 0.1, 1
        return task

    defer(short, ti)
    slow_studio.world.emulator.advance(1100)
    task = short()
    task.render_template_fields(build_context(NEW, ti))
    time.sleep(0.2)
    with pytest.raises(JobFailedError) as caught:
        _resume_or_time_out(task, [], build_context(NEW, ti))
    output = collect_output(caught.value, vars(caught.value), ti.pushed)
    assert [marker for marker in MARKERS if marker in output] == []
    assert "CREATE_FAILED" in output


@every_job
def test_old_request_is_not_quoted_by_retry_that_reuses_job(
    slow_studio: Studio,
    collect_output: Callable[..., str],
    prepare: Any,
    confidential: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make, ti = prepare(slow_studio, confidential), TaskInstance()
    defer(make, ti)
    retry, next_ti = make(), ti.make_next_try()
    retry.deferrable = False
    retry.render_template_fields(build_context(NEW, next_ti))
    # The job ends once the retry waits for it.
    monkeypatch.setattr(_clock, "sleep", lambda _: slow_studio.world.emulator.advance(1100))
    with pytest.raises(JobFailedError) as caught:
        retry.execute(build_context(NEW, next_ti))
    output = collect_output(caught.value, vars(caught.value), next_ti.pushed)
    assert "reuses the" in output
    assert [marker for marker in MARKERS if marker in output] == []


def test_unreadable_query_is_not_quoted(slow_studio: Studio, collect_output: Callable[..., str]) -> None:
    make, ti = prepare_channel(slow_studio, SQL), TaskInstance()
    deferral = defer(make, ti)
    slow_studio.world.emulator.advance(1100)
    slow_studio.world.add_fault("GetProtectedQuery", "access_denied", times=0)
    with pytest.raises(JobFailedError) as caught:
        resume_in_new_operator(make, deferral, ti)
    assert "marker_of_the_query" not in collect_output(caught.value)
    assert "protected query" in str(caught.value)


def test_message_without_query_is_shown(slow_studio: Studio, collect_output: Callable[..., str]) -> None:
    make, ti = prepare_channel(slow_studio, SQL), TaskInstance()
    slow_studio.world.emulator.clear_faults(slow_studio.world.account)
    message = f"Table clicks: no {OLD['value']}"
    slow_studio.world.add_fault("CreateMLInputChannel", "fail_job", code="QUERY_FAILED", message=message)
    deferral = defer(make, ti)
    slow_studio.world.emulator.advance(1100)
    with pytest.raises(JobFailedError) as caught:
        resume_in_new_operator(make, deferral, ti)
    assert str(caught.value).count("QUERY_FAILED: Table clicks: no ***") == 2
    assert OLD["value"] not in collect_output(caught.value)


@pytest.mark.parametrize(
    "description",
    [{}, {"sqlParameters": None}, {"sqlParameters": {}}, {"sqlParameters": {"parameters": {"limit": "x"}}}],
)
def test_undescribed_query_is_withheld(slow_studio: Studio, description: dict[str, Any]) -> None:
    make, ti = prepare_channel(slow_studio, SQL), TaskInstance()
    deferral = defer(make, ti)
    slow_studio.world.emulator.advance(1100)
    task = make()
    task.render_template_fields(build_context(NEW, ti))

    def strip(parsed: dict[str, Any], **_: Any) -> None:
        parsed["protectedQuery"] = {**parsed["protectedQuery"], "sqlParameters": None, **description}

    task.hook.of("cleanrooms").conn.meta.events.register("after-call.cleanrooms.GetProtectedQuery", strip)
    with pytest.raises(JobFailedError) as caught:
        resume(task, deferral, build_context(NEW, ti))
    assert [marker for marker in MARKERS if marker in str(caught.value)] == []
    assert f"QUERY_FAILED: {UNKNOWN})" in str(caught.value)


def test_cancel_does_not_show_environment_of_failed_training(
    slow_studio: Studio, collect_output: Callable[..., str]
) -> None:
    make, ti = prepare_training(slow_studio, ENVIRONMENT), TaskInstance()
    defer(make, ti)
    slow_studio.world.emulator.advance(1100)
    (model,) = slow_studio.ml.list_trained_models(**slow_studio.of)["trainedModels"]
    cancel = CleanRoomsMLCancelTrainedModelOperator(
        task_id="c", trained_model_arn=model["trainedModelArn"], **slow_studio.soon
    )
    run(cancel)
    output = collect_output()
    assert "CREATE_FAILED" in output
    assert [marker for marker in MARKERS if marker in output] == []


def _resume_or_time_out(task: Any, deferrals: list[Any], context: dict[str, Any]) -> Any:
    """Resume a task; without a deferral, as after its trigger has timed out because no triggerer was running."""
    if deferrals:
        return resume(task, deferrals[0], context)
    return task.resume_execution("__fail__", {"error": "Trigger timeout"}, context)


@pytest.mark.parametrize("triggerer_is_down", [False, True])
def test_job_is_read_and_cancelled_with_old_connection(slow_studio: Studio, triggerer_is_down: bool) -> None:
    channel = create_ready_channel(slow_studio)

    def make() -> Any:
        arguments = {**slow_studio.build_training(channel=channel), "waiter_delay": 0.5, "waiter_max_attempts": 1}
        return CleanRoomsMLCreateTrainedModelOperator(
            **arguments, region_name="{{ params.region }}", aws_conn_id="{{ params.conn }}", deferrable=True
        )

    ti, before = TaskInstance(), {**OLD, "region": "us-east-1", "conn": "aws_default"}
    after = {**NEW, "region": "eu-west-1", "conn": "does_not_exist"}
    deferral = defer(make, ti, before)
    task = make()
    task.render_template_fields(build_context(after, ti))
    time.sleep(0.6 if triggerer_is_down else 0.0)
    events: list[Any] = [] if triggerer_is_down else [deferral]
    with pytest.raises(WaitTimeoutError, match=r"was still CREATE_IN_PROGRESS .* It was cancelled\."):
        _resume_or_time_out(task, events, build_context(after, ti))
    (model,) = slow_studio.ml.list_trained_models(**slow_studio.of)["trainedModels"]
    assert model["status"].startswith("CANCEL_")


@pytest.mark.parametrize("region", ["", "None", "nowhere"])
def test_task_resumes_with_old_connection(slow_studio: Studio, region: str) -> None:
    channel, certificates = create_ready_channel(slow_studio), Path(certifi.where())

    def make() -> Any:
        arguments = {
            **slow_studio.build_training(channel=channel),
            "verify": certificates,
            "region_name": "{{ params.region }}",
        }
        return CleanRoomsMLCreateTrainedModelOperator(**arguments, deferrable=True)

    ti = TaskInstance()
    deferral: Any = defer(make, ti, {**OLD, "region": "us-east-1"})
    connection = json.loads(json.dumps(deferral.trigger.wait))["connection"]
    assert connection == {"aws_conn_id": "aws_default", "region_name": "us-east-1", "verify": str(certificates)}
    slow_studio.world.emulator.advance(1100)
    (model,) = slow_studio.ml.list_trained_models(**slow_studio.of)["trainedModels"]
    assert resume_in_new_operator(make, deferral, ti, {**NEW, "region": region}) == model["trainedModelArn"]


def test_wait_of_older_release_is_resumed(studio: Studio) -> None:
    task: Any = CleanRoomsMLCreateTrainedModelOperator(**studio.build_training(), region_name="us-east-1")
    identifiers = {"trained_model_arn": studio.model, "membership_identifier": studio.membership}
    wait = Wait("trained model", "created", identifiers, 0.0, 0.0, 1.0).to_json()
    del wait["connection"]
    event = {"wait": wait, "poll_result": {"status": "ACTIVE", "outcome": "success"}}
    assert task.execute_complete({"ti": TaskInstance()}, event) == studio.model
    assert task.region_name == "us-east-1"


@pytest.mark.parametrize("arn", ["another", "None"])
def test_sensor_names_its_channel(slow_studio: Studio, arn: str) -> None:
    identifiers: dict[str, Any] = {
        "membership_identifier": slow_studio.membership,
        "ml_input_channel_arn": "{{ params.arn }}",
    }

    def make() -> Any:
        return CleanRoomsMLMLInputChannelSensor(
            task_id="s", poke_interval=0.1, timeout=1, deferrable=True, **identifiers
        )

    channel = slow_studio.ml.create_ml_input_channel(
        **slow_studio.of,
        name="channel",
        configuredModelAlgorithmAssociations=[slow_studio.association],
        inputChannel=slow_studio.build_input_channel(),
        retentionInDays=1,
    )["mlInputChannelArn"]
    ti = TaskInstance()
    deferral = defer(make, ti, {**OLD, "arn": channel})
    with pytest.raises(SensorTimeoutError, match=f"ML input channel {channel}"):
        resume_in_new_operator(make, deferral, ti, {**NEW, "arn": arn})
