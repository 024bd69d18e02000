"""What a task shows of a job that it did not send by this very request: templates are rendered anew when a task resumes."""

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
#: How the service says it; of a query in a template the task knows no more than its parameters.
SAID = f"near '{OLD['query']}' with {OLD['value']}"
SAID_OF_TEMPLATE = f"near {OLD['value']}"
TEMPLATE = "arn:aws:cleanrooms:us-east-1:123456789012:membership/{0}/analysistemplate/{0}".format(
    "01234567-89ab-cdef-0123-456789abcdef"
)
SQL = {"queryString": "{{ params.query }}", "parameters": {"limit": "{{ params.value }}"}}
BY_TEMPLATE = {"analysisTemplateArn": TEMPLATE, "parameters": {"limit": "{{ params.value }}"}}


def ready(studio: Studio, **more: Any) -> str:
    """A channel that is ACTIVE, where nothing ends before the clock is pushed."""
    made = studio.ml.create_ml_input_channel(
        **studio.of,
        name="ready",
        configuredModelAlgorithmAssociations=[studio.association],
        inputChannel=studio.build_input_channel(),
        retentionInDays=30,
        **more,
    )
    studio.world.emulator.advance(1100)
    return str(made["mlInputChannelArn"])


def channel(studio: Studio, sql: Any) -> Callable[[], Any]:
    studio.world.add_fault(
        "CreateMLInputChannel",
        "fail_job",
        code="QUERY_FAILED",
        message=SAID_OF_TEMPLATE if sql is BY_TEMPLATE else SAID,
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


def segment(studio: Studio, sql: Any) -> Callable[[], Any]:
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
        message=SAID_OF_TEMPLATE if sql is BY_TEMPLATE else SAID,
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


def training(studio: Studio, environment: Any) -> Callable[[], Any]:
    given = studio.build_training(channel=ready(studio), environment=environment, deferrable=True)
    studio.world.add_fault("CreateTrainedModel", "fail_job", code="ALGORITHM_ERROR", message=SAID)
    return lambda: CleanRoomsMLCreateTrainedModelOperator(**given)


def inference(studio: Studio, environment: Any) -> Callable[[], Any]:
    data = ready(studio)
    model = studio.ml.create_trained_model(
        **studio.of,
        name="model",
        configuredModelAlgorithmAssociationArn=studio.association,
        resourceConfig={"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30},
        dataChannels=[{"mlInputChannelArn": data, "channelName": "training"}],
    )
    studio.world.emulator.advance(1100)
    vars(studio).update(model=model["trainedModelArn"], channel=data)
    given = studio.build_inference(environment=environment, deferrable=True)
    studio.world.add_fault("StartTrainedModelInferenceJob", "fail_job", code="ALGORITHM_ERROR", message=SAID)
    return lambda: CleanRoomsMLStartTrainedModelInferenceJobOperator(**given)


every_job = pytest.mark.parametrize(
    ("start", "given"),
    [
        pytest.param(channel, SQL, id="channel"),
        pytest.param(channel, BY_TEMPLATE, id="channel by template"),
        pytest.param(channel, "{{ params.sql | tojson }}", id="channel as JSON"),
        pytest.param(segment, SQL, id="segment"),
        pytest.param(segment, BY_TEMPLATE, id="segment by template"),
        pytest.param(training, ENVIRONMENT, id="training"),
        pytest.param(inference, ENVIRONMENT, id="inference"),
    ],
)


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[..., str]:
    """All that was shown, in logs and elsewhere."""
    caplog.set_level("INFO")
    return lambda *more: caplog.text + "".join(capsys.readouterr()) + " ".join(map(str, more))


def context(params: Any, ti: TaskInstance) -> dict[str, Any]:
    sql = {"queryString": params["query"], "parameters": {"limit": params["value"]}}
    return {"params": {**params, "sql": sql}, "ti": ti}


def deferred(make: Callable[[], Any], ti: TaskInstance, params: Any = OLD) -> BaseException:
    """The deferral of a task."""
    task = make()
    task.render_template_fields(context(params, ti))
    with pytest.raises(TaskDeferred) as caught:
        task.execute(context(params, ti))
    return caught.value


def resumed(make: Callable[[], Any], deferral: Any, ti: TaskInstance, params: Any = NEW) -> Any:
    """What another process makes of its event."""
    task = make()
    task.render_template_fields(context(params, ti))
    return resume(task, deferral, context(params, ti))


@every_job
def test_an_old_request_is_not_quoted_after_a_deferral(
    slow_studio: Studio, shown: Callable[..., str], start: Any, given: Any
) -> None:
    make, ti = start(slow_studio, given), TaskInstance()
    deferral = deferred(make, ti)
    slow_studio.world.emulator.advance(1100)
    with pytest.raises(JobFailedError) as caught:
        resumed(make, deferral, ti)
    said = shown(caught.value, vars(caught.value), ti.pushed, caught.value.__cause__, caught.value.__context__)
    assert [marker for marker in MARKERS if marker in said] == []
    assert "CREATE_FAILED" in said
    assert str(caught.value).count("ERROR") + str(caught.value).count("FAILED") >= 2


@every_job
def test_an_old_request_is_not_quoted_where_the_job_failed_at_the_last_moment(
    slow_studio: Studio, shown: Callable[..., str], start: Any, given: Any
) -> None:
    make, ti = start(slow_studio, given), TaskInstance()

    def short() -> Any:
        task = make()
        task.waiter_delay, task.waiter_max_attempts = 0.1, 1
        return task

    deferred(short, ti)
    slow_studio.world.emulator.advance(1100)
    task = short()
    task.render_template_fields(context(NEW, ti))
    time.sleep(0.2)
    with pytest.raises(JobFailedError) as caught:
        _ended(task, [], context(NEW, ti))
    said = shown(caught.value, vars(caught.value), ti.pushed)
    assert [marker for marker in MARKERS if marker in said] == []
    assert "CREATE_FAILED" in said


@every_job
def test_an_old_request_is_not_quoted_by_a_retry_that_goes_on_with_its_job(
    slow_studio: Studio, shown: Callable[..., str], start: Any, given: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, ti = start(slow_studio, given), TaskInstance()
    deferred(make, ti)
    retry, again = make(), ti.make_next_try()
    retry.deferrable = False
    retry.render_template_fields(context(NEW, again))
    # The job ends once the retry waits for it.
    monkeypatch.setattr(_clock, "sleep", lambda _: slow_studio.world.emulator.advance(1100))
    with pytest.raises(JobFailedError) as caught:
        retry.execute(context(NEW, again))
    said = shown(caught.value, vars(caught.value), again.pushed)
    assert "reuses the" in said
    assert [marker for marker in MARKERS if marker in said] == []


def test_a_query_that_cannot_be_read_is_not_quoted(slow_studio: Studio, shown: Callable[..., str]) -> None:
    make, ti = channel(slow_studio, SQL), TaskInstance()
    deferral = deferred(make, ti)
    slow_studio.world.emulator.advance(1100)
    slow_studio.world.add_fault("GetProtectedQuery", "access_denied", times=0)
    with pytest.raises(JobFailedError) as caught:
        resumed(make, deferral, ti)
    assert "marker_of_the_query" not in shown(caught.value)
    assert "protected query" in str(caught.value)


def test_what_quotes_nothing_is_told_in_words(slow_studio: Studio, shown: Callable[..., str]) -> None:
    make, ti = channel(slow_studio, SQL), TaskInstance()
    slow_studio.world.emulator.clear_faults(slow_studio.world.account)
    said = f"Table clicks: no {OLD['value']}"
    slow_studio.world.add_fault("CreateMLInputChannel", "fail_job", code="QUERY_FAILED", message=said)
    deferral = deferred(make, ti)
    slow_studio.world.emulator.advance(1100)
    with pytest.raises(JobFailedError) as caught:
        resumed(make, deferral, ti)
    assert str(caught.value).count("QUERY_FAILED: Table clicks: no ***") == 2
    assert OLD["value"] not in shown(caught.value)


@pytest.mark.parametrize(
    "shows", [{}, {"sqlParameters": None}, {"sqlParameters": {}}, {"sqlParameters": {"parameters": {"limit": "x"}}}]
)
def test_a_query_that_is_not_described_is_withheld(slow_studio: Studio, shows: dict[str, Any]) -> None:
    make, ti = channel(slow_studio, SQL), TaskInstance()
    deferral = deferred(make, ti)
    slow_studio.world.emulator.advance(1100)
    task = make()
    task.render_template_fields(context(NEW, ti))

    def strip(parsed: dict[str, Any], **_: Any) -> None:
        parsed["protectedQuery"] = {**parsed["protectedQuery"], "sqlParameters": None, **shows}

    task.hook.of("cleanrooms").conn.meta.events.register("after-call.cleanrooms.GetProtectedQuery", strip)
    with pytest.raises(JobFailedError) as caught:
        resume(task, deferral, context(NEW, ti))
    assert [marker for marker in MARKERS if marker in str(caught.value)] == []
    assert f"QUERY_FAILED: {UNKNOWN})" in str(caught.value)


def test_cancelling_tells_nothing_of_the_environment_of_what_has_failed(
    slow_studio: Studio, shown: Callable[..., str]
) -> None:
    make, ti = training(slow_studio, ENVIRONMENT), TaskInstance()
    deferred(make, ti)
    slow_studio.world.emulator.advance(1100)
    (model,) = slow_studio.ml.list_trained_models(**slow_studio.of)["trainedModels"]
    cancel = CleanRoomsMLCancelTrainedModelOperator(
        task_id="c", trained_model_arn=model["trainedModelArn"], **slow_studio.soon
    )
    run(cancel)
    said = shown()
    assert "CREATE_FAILED" in said
    assert [marker for marker in MARKERS if marker in said] == []


def _ended(task: Any, deferrals: list[Any], of: dict[str, Any]) -> Any:
    """What becomes of a deferral; without one Airflow has ended it, for no triggerer has looked."""
    if deferrals:
        return resume(task, deferrals[0], of)
    return task.resume_execution("__fail__", {"error": "Trigger timeout"}, of)


@pytest.mark.parametrize("triggerer_is_down", [False, True])
def test_what_was_started_elsewhere_is_looked_at_and_cancelled_there(
    slow_studio: Studio, triggerer_is_down: bool
) -> None:
    data = ready(slow_studio)

    def make() -> Any:
        given = {**slow_studio.build_training(channel=data), "waiter_delay": 0.5, "waiter_max_attempts": 1}
        return CleanRoomsMLCreateTrainedModelOperator(
            **given, region_name="{{ params.region }}", aws_conn_id="{{ params.conn }}", deferrable=True
        )

    ti, before = TaskInstance(), {**OLD, "region": "us-east-1", "conn": "aws_default"}
    after = {**NEW, "region": "eu-west-1", "conn": "there_is_none"}
    deferral = deferred(make, ti, before)
    task = make()
    task.render_template_fields(context(after, ti))
    time.sleep(0.6 if triggerer_is_down else 0.0)
    events: list[Any] = [] if triggerer_is_down else [deferral]
    with pytest.raises(WaitTimeoutError, match=r"was still CREATE_IN_PROGRESS .* It was cancelled\."):
        _ended(task, events, context(after, ti))
    (model,) = slow_studio.ml.list_trained_models(**slow_studio.of)["trainedModels"]
    assert model["status"].startswith("CANCEL_")


@pytest.mark.parametrize("region", ["", "None", "nowhere"])
def test_a_task_resumes_whatever_its_connection_renders_to_by_then(slow_studio: Studio, region: str) -> None:
    data, certificates = ready(slow_studio), Path(certifi.where())

    def make() -> Any:
        given = {
            **slow_studio.build_training(channel=data),
            "verify": certificates,
            "region_name": "{{ params.region }}",
        }
        return CleanRoomsMLCreateTrainedModelOperator(**given, deferrable=True)

    ti = TaskInstance()
    deferral: Any = deferred(make, ti, {**OLD, "region": "us-east-1"})
    kept = json.loads(json.dumps(deferral.trigger.wait))["connection"]
    assert kept == {"aws_conn_id": "aws_default", "region_name": "us-east-1", "verify": str(certificates)}
    slow_studio.world.emulator.advance(1100)
    (model,) = slow_studio.ml.list_trained_models(**slow_studio.of)["trainedModels"]
    assert resumed(make, deferral, ti, {**NEW, "region": region}) == model["trainedModelArn"]


def test_a_wait_of_an_older_release_is_gone_on_with(studio: Studio) -> None:
    task: Any = CleanRoomsMLCreateTrainedModelOperator(**studio.build_training(), region_name="us-east-1")
    of = {"trained_model_arn": studio.model, "membership_identifier": studio.membership}
    wait = Wait("trained model", "created", of, 0.0, 0.0, 1.0).to_json()
    del wait["connection"]
    event = {"wait": wait, "poll_result": {"status": "ACTIVE", "outcome": "success"}}
    assert task.execute_complete({"ti": TaskInstance()}, event) == studio.model
    assert task.region_name == "us-east-1"


@pytest.mark.parametrize("arn", ["another", "None"])
def test_a_sensor_names_what_it_waited_for(slow_studio: Studio, arn: str) -> None:
    of: dict[str, Any] = {"membership_identifier": slow_studio.membership, "ml_input_channel_arn": "{{ params.arn }}"}

    def make() -> Any:
        return CleanRoomsMLMLInputChannelSensor(task_id="s", poke_interval=0.1, timeout=1, deferrable=True, **of)

    made = slow_studio.ml.create_ml_input_channel(
        **slow_studio.of,
        name="channel",
        configuredModelAlgorithmAssociations=[slow_studio.association],
        inputChannel=slow_studio.build_input_channel(),
        retentionInDays=1,
    )["mlInputChannelArn"]
    ti = TaskInstance()
    deferral = deferred(make, ti, {**OLD, "arn": made})
    with pytest.raises(SensorTimeoutError, match=f"ML input channel {made}"):
        resumed(make, deferral, ti, {**NEW, "arn": arn})
