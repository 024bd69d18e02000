"""A retry reuses what an earlier try created, even if its arguments render differently. A cleared task may create another resource."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._compat import TaskDeferred
from airflow_cleanroomsml._idempotency import owned
from airflow_cleanroomsml._idempotency.claim import TAG
from airflow_cleanroomsml.exceptions import AccessDeniedError, CleanRoomsMLError, OutcomeUnsettledError
from airflow_cleanroomsml.operators import (
    CleanRoomsCreateConfiguredAudienceModelAssociationOperator,
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLCreateConfiguredAudienceModelOperator,
    CleanRoomsMLCreateTrainedModelOperator,
    CleanRoomsMLCreateTrainingDatasetOperator,
    CleanRoomsMLStartAudienceExportJobOperator,
)
from tests.helpers.collaboration import collaborate
from tests.helpers.custom_models import Studio, versioned
from tests.support import SCHEMA, TaskInstance, World, resume, run
from tests.survival.create_operators import BY_TITLE

both_ways = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
_hours = (datetime(2026, 11, 24, tzinfo=timezone.utc) + timedelta(hours=number) for number in count())
#: The ``macros`` of Airflow's templates. The time advances by an hour at each use.
MACROS = SimpleNamespace(datetime=SimpleNamespace(now=lambda: next(_hours)), uuid=uuid)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The durations of all pauses, in seconds. The pauses themselves take no time."""
    durations: list[float] = []
    monkeypatch.setattr(_clock, "sleep", durations.append)
    return durations


class StateStore(dict[str, Any]):
    """The methods of Airflow's task state store that tasks use."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))


class Task:
    """
    A task of one run, and its tries.

    :param cls: The operator's class.
    :param arguments: The operator's arguments, as written in the Dag.
    """

    def __init__(self, cls: Any, **arguments: Any) -> None:
        self.cls, self.arguments = cls, {"task_id": "task", "retries": TaskInstance.retries, **arguments}
        self.ti = TaskInstance()
        self.context: dict[str, Any] = {"macros": MACROS}
        self.pushed: dict[str, Any] = {}

    def use_state_store(self) -> None:
        """Keep the task's state between tries, as Airflow 3.3 does."""
        self.context["task_state_store"] = StateStore()

    def run(self, **changed: Any) -> Any:
        """Run a try, and return its result. Changed arguments apply to later tries, too."""
        self.arguments.update(changed)
        finished = run(self.cls(**self.arguments), ti=self.ti, **self.context)
        self.pushed = finished.pushed
        return finished.result

    def retry(self, **changed: Any) -> Any:
        """Run an automatic retry, and return its result."""
        self.ti = self.ti.make_next_try()
        return self.run(**changed)

    def clear_and_run(self, **changed: Any) -> Any:
        """Clear the task, run the next try, and return its result."""
        self.ti = self.ti.make_cleared_try()
        return self.run(**changed)

    def interrupt(self, world: World, read: str) -> None:
        """Run a try that fails because a read of its resource is denied, in the worker or in the triggerer."""
        operator = self.cls(**self.arguments)
        context: Any = {"params": {}, **self.context, "ti": self.ti}
        operator.render_template_fields(context)
        if not self.arguments.get("deferrable"):
            world.add_fault(read, "access_denied")

        def run_and_resume() -> None:
            try:
                operator.execute(context)
            except TaskDeferred as deferred:
                world.add_fault(read, "access_denied")
                resume(operator, deferred, context)

        with pytest.raises(CleanRoomsMLError, match="A retry continues the wait"):
            run_and_resume()


def list_names(world: World) -> list[str]:
    return [entry["name"] for entry in world.ml.list_training_datasets()["trainingDatasets"]]


@both_ways
@pytest.mark.parametrize(
    ("argument", "template"),
    [
        ("training_data_end_time", "{{ macros.datetime.now() }}"),
        ("name", "weekly-{{ ti.try_number }}"),
        ("name", "weekly-{{ macros.uuid.uuid4() }}"),
    ],
)
def test_unstable_template_creates_one_resource(
    slow_world: World, argument: str, template: str, deferrable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    task = Task(
        CleanRoomsMLCreateAudienceModelOperator,
        **{"name": "weekly", "training_dataset_arn": slow_world.create_dataset(), argument: template},
        deferrable=deferrable,
    )
    task.interrupt(slow_world, "GetAudienceModel")
    with caplog.at_level(logging.WARNING):
        result = task.retry(wait_for_completion=False)
    (model,) = slow_world.ml.list_audience_models()["audienceModels"]
    assert result == model["audienceModelArn"]
    assert argument in caplog.text


@dataclass(frozen=True)
class Kind:
    """
    A kind of resource with tags, and arguments that render differently in a retry.

    :param title: The operation that creates it.
    :param build_changes: Builds the changed arguments of the retry.
    :param first: Additional arguments of the first try.
    """

    title: str
    build_changes: Callable[[World], dict[str, Any]]
    first: dict[str, Any] = field(default_factory=dict)


def build_other_output(world: World) -> dict[str, Any]:
    return {**world.output, "destination": {"s3Destination": {"s3Uri": f"s3://{world.bucket}/other"}}}


KINDS = {
    "dataset": Kind("create_training_dataset", lambda world: {"role_arn": f"{world.role}-other"}),
    "model": Kind("create_audience_model", lambda _: {"training_data_end_time": "2026-11-24"}),
    "model of another dataset": Kind(
        "create_audience_model", lambda world: {"training_dataset_arn": world.create_dataset("another")}
    ),
    "configured model": Kind(
        "create_configured_audience_model", lambda world: {"output_config": build_other_output(world)}
    ),
    "generation job": Kind("start_audience_generation_job", lambda world: {"seed_audience": world.write_seed()}),
    "generation job of another model": Kind(
        "start_audience_generation_job",
        lambda world: {"configured_audience_model_arn": world.create_configured_model("another")},
    ),
    "algorithm": Kind("create_configured_model_algorithm", lambda world: {"role_arn": f"{world.role}-other"}),
    "channel": Kind("create_ml_input_channel", lambda _: {"retention_in_days": 7}),
    "trained model": Kind(
        "create_trained_model",
        lambda _: {"hyperparameters": {"a": "1", "b": "2"}},
        {"hyperparameters": {"a": "1"}},
    ),
    "inference job": Kind(
        "start_trained_model_inference_job",
        lambda _: {"environment": {"SECRET": "another-value"}},
        {"environment": {"SECRET": "the-value-of-a-secret"}},
    ),
}


@pytest.mark.parametrize("renamed", [False, True], ids=["same name", "another name"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_retry_reuses_resource_if_arguments_differ(
    empty_world: World, kind: Kind, renamed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    maker = BY_TITLE[kind.title]
    prepared = maker.prepare(empty_world)
    prepared.pop("task_id", None)
    before = len(list(maker.list_resources(empty_world, prepared)))
    waits = {"wait_for_completion": False} if maker.waits else {}
    task = Task(maker.operator, **{**prepared, **kind.first, **waits, maker.name_argument: "made"})
    first = task.run()
    changed = kind.build_changes(empty_world)
    with caplog.at_level(logging.WARNING):
        assert task.retry(**changed, **({maker.name_argument: "another"} if renamed else {})) == first
    assert len(list(maker.list_resources(empty_world, prepared))) == before + 1
    warnings = [record.getMessage() for record in caplog.records if "This retry reuses" in record.getMessage()]
    assert all(name in warnings[0] for name in (*changed, *([maker.name_argument] if renamed else ())))
    assert not any(text in caplog.text for text in ("the-value-of-a-secret", "SECRET"))


def build_dataset_task(world: World, **more: Any) -> Task:
    """Build a task that creates a training dataset."""
    arguments = {"name": "d", "role_arn": world.role, "training_data": world.build_training_data()}
    return Task(CleanRoomsMLCreateTrainingDatasetOperator, **{**arguments, **more})


def build_other_arguments(number: int) -> dict[str, Any]:
    """Build arguments that differ from the task's usual ones."""
    source = {"glueDataSource": {"databaseName": "lookalike", "tableName": f"interactions_{number}"}}
    return {"training_data": [{"type": "INTERACTIONS", "inputConfig": {"schema": SCHEMA, "dataSource": source}}]}


def test_clear_with_other_arguments_creates_another(empty_world: World, caplog: pytest.LogCaptureFixture) -> None:
    task = build_dataset_task(empty_world)
    first = task.run()
    second = task.clear_and_run(**build_other_arguments(0))
    assert second != first
    # Its retries reuse the new dataset.
    assert task.retry(**build_other_arguments(1)) == second
    # The name of the dataset differs from the requested one, but the task itself chose it: the warning does not list it.
    assert "other values: training_data. " in caplog.text
    assert task.retry(name="another") == second
    assert "other values: name, training_data. " in caplog.text
    assert list_names(empty_world) == ["d", "d-retry-2"]


def test_retry_creates_resource_if_cleared_try_was_denied(empty_world: World) -> None:
    task = build_dataset_task(empty_world)
    first = task.run()
    empty_world.add_fault("CreateTrainingDataset", "access_denied")
    with pytest.raises(AccessDeniedError):
        task.clear_and_run(**build_other_arguments(0))
    second = task.retry(**build_other_arguments(1))
    assert second != first
    assert task.retry() == second


@pytest.mark.parametrize("has_store", [False, True], ids=["without state store", "with state store"])
def test_retries_after_clear_reuse_resource_of_cleared_try(empty_world: World, has_store: bool) -> None:
    task = build_dataset_task(empty_world)
    if has_store:
        task.use_state_store()
    first = task.run()
    assert task.clear_and_run() == first
    assert task.retry(**build_other_arguments(0)) == first
    # A retry does not return to the resource of an earlier sequence, even if its arguments match.
    second = task.clear_and_run(**build_other_arguments(1))
    assert second != first
    original = {"training_data": empty_world.build_training_data()}
    assert task.retry(**original) == second
    assert task.clear_and_run(**original) == first
    assert task.retry(**build_other_arguments(1)) == first


@pytest.mark.parametrize("has_store", [False, True], ids=["without state store", "with state store"])
def test_clear_does_not_reuse_resource_with_other_arguments(empty_world: World, has_store: bool) -> None:
    task = build_dataset_task(empty_world)
    if has_store:
        task.use_state_store()
    first = task.run()
    assert task.retry(**build_other_arguments(0)) == first
    assert task.clear_and_run() != first


def test_clear_succeeds_if_tagging_is_denied(empty_world: World, caplog: pytest.LogCaptureFixture) -> None:
    task = build_dataset_task(empty_world)
    first = task.run()
    empty_world.add_fault("TagResource", "access_denied", times=0)
    assert task.clear_and_run() == first
    assert "Could not update the tag of" in caplog.text


@pytest.mark.parametrize("has_store", [False, True], ids=["without state store", "with state store"])
@pytest.mark.parametrize("changed", [{}, {"name": "another"}], ids=["same name", "another name"])
def test_failed_resource_is_not_reused(world: World, changed: dict[str, Any], has_store: bool) -> None:
    task = Task(
        CleanRoomsMLCreateAudienceModelOperator,
        name="m",
        training_dataset_arn=world.create_dataset(),
        wait_for_completion=False,
    )
    if has_store:
        task.use_state_store()
    world.add_fault("CreateAudienceModel", "fail_job")
    first = task.run()
    assert world.wait(first)["status"] == "CREATE_FAILED"
    assert task.retry(training_data_end_time="2026-11-24", **changed) != first
    models = world.ml.list_audience_models()["audienceModels"]
    assert sorted(entry["name"] for entry in models) == sorted(["m", changed.get("name", "m-retry-2")])


@pytest.mark.parametrize("clears", [None, 2])
def test_clear_of_running_task_may_count_as_retry(empty_world: World, clears: int | None) -> None:
    task = build_dataset_task(empty_world)
    task.context["dag_run"] = SimpleNamespace(clear_number=clears, start_date=None)
    task.ti.retries = task.ti.max_tries = 1
    first = task.run()
    # A clear of a running task sets RESTARTING and leaves max_tries alone.
    assert task.retry(**build_other_arguments(0)) == first
    # This try exceeds max_tries, so it probably follows a clear.
    second = task.retry(**build_other_arguments(1))
    assert second != first
    third = task.retry(**build_other_arguments(2))
    assert third not in (first, second)
    assert task.clear_and_run(**build_other_arguments(2)) == third


@pytest.mark.parametrize("has_store", [False, True], ids=["without a state store", "with one"])
def test_try_after_scheduler_was_replaced_counts_as_retry(empty_world: World, has_store: bool) -> None:
    """The new scheduler tries the tasks of a LocalExecutor again, even beyond ``max_tries + 1``; nobody has cleared the run."""
    task = build_dataset_task(empty_world, retries=0)
    task.context["dag_run"] = SimpleNamespace(clear_number=0, start_date=None)
    if has_store:
        task.use_state_store()
    task.ti.retries = task.ti.max_tries = 0
    first = task.run()
    assert task.retry(**build_other_arguments(0)) == first
    assert task.retry(name="elsewhere") == first
    assert task.clear_and_run(**build_other_arguments(1)) != first


def test_retry_reuses_resource_after_retries_were_edited(empty_world: World) -> None:
    task = build_dataset_task(empty_world, retries=5)
    first = task.run()
    assert task.retry(retries=3, **build_other_arguments(0)) == first
    assert task.retry(retries=9, **build_other_arguments(1)) == first


def test_tag_without_sequence_is_recognised(empty_world: World) -> None:
    task = build_dataset_task(empty_world)
    first = task.run()
    value = empty_world.ml.list_tags_for_resource(resourceArn=first)["tags"][TAG]
    assert value.endswith(":5")
    empty_world.ml.tag_resource(resourceArn=first, tags={TAG: value.removesuffix(":5")})
    assert task.retry() == first
    assert empty_world.ml.list_tags_for_resource(resourceArn=first)["tags"][TAG] == value
    empty_world.ml.tag_resource(resourceArn=first, tags={TAG: value.removesuffix(":5")})
    assert task.clear_and_run(**build_other_arguments(0)) != first


def test_older_resources_are_not_read(empty_world: World) -> None:
    build_dataset_task(empty_world, name="other").run()
    task = build_dataset_task(empty_world, name="unstable-{{ ti.try_number }}")
    empty_world.add_fault("CreateTrainingDataset", "access_denied")
    with pytest.raises(AccessDeniedError):
        task.run()
    # The run starts an hour after the other dataset was created.
    task.context["dag_run"] = SimpleNamespace(start_date=empty_world.emulator.read_clock() + timedelta(hours=1))
    before = empty_world.calls.count("GetTrainingDataset")
    task.retry()
    assert empty_world.calls.count("GetTrainingDataset") == before


def test_cleared_run_reuses_older_resource(empty_world: World) -> None:
    task = build_dataset_task(empty_world)
    first = task.run()
    # Airflow changes the start date of a cleared run.
    later = empty_world.emulator.read_clock() + timedelta(hours=1)
    task.context["dag_run"] = SimpleNamespace(start_date=later, clear_number=1)
    assert task.clear_and_run() == first
    assert task.retry(name="another") == first


def test_number_of_reads_is_limited(
    empty_world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(owned, "MAX_READS", 1)
    task = build_dataset_task(empty_world)
    empty_world.add_fault("CreateTrainingDataset", "access_denied")
    with pytest.raises(AccessDeniedError):
        task.run()
    for number in range(2):
        empty_world.create_dataset(f"other-{number}")
    task.retry()
    assert empty_world.calls.count("GetTrainingDataset") == 1
    assert "Only the tags of the newest 1 are read" in caplog.text


def test_nothing_is_read_if_log_says_nothing_was_created(empty_world: World) -> None:
    task = build_dataset_task(empty_world)
    task.use_state_store()
    empty_world.create_dataset("other")
    empty_world.add_fault("CreateTrainingDataset", "access_denied")
    with pytest.raises(AccessDeniedError):
        task.run()
    task.retry(**build_other_arguments(0))
    assert "GetTrainingDataset" not in empty_world.calls


@pytest.mark.parametrize("fault", ["", "lose_response"], ids=["logged", "lost response"])
def test_state_store_leads_to_renamed_export(world: World, fault: str) -> None:
    job = world.generate_audience()
    size = {"type": "PERCENTAGE", "value": "{{ [5, 10, 20][ti.try_number - 1] }}"}
    task = Task(
        CleanRoomsMLStartAudienceExportJobOperator,
        name="export-{{ ti.try_number }}",
        audience_generation_job_arn=job,
        audience_size=size,
        wait_for_completion=False,
    )
    task.use_state_store()
    if fault:
        world.add_fault("StartAudienceExportJob", fault)
        world.add_fault("ListAudienceExportJobs", "access_denied")
        with pytest.raises(AccessDeniedError):
            task.run()
    else:
        task.run()
    assert task.retry()["name"] == "export-1"
    assert task.retry()["name"] == "export-1"
    assert len(world.ml.list_audience_export_jobs(audienceGenerationJobArn=job)["audienceExportJobs"]) == 1
    assert task.clear_and_run(audience_size={"type": "PERCENTAGE", "value": 10})["name"] == "export-4"


def test_older_export_of_another_owner_is_not_reused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job, size = world.generate_audience(), {"type": "PERCENTAGE", "value": 5}
    world.ml.start_audience_export_job(name="export-1", audienceGenerationJobArn=job, audienceSize=size)
    lead = world.emulator.read_lead()
    monkeypatch.setattr(_clock, "now", lambda: time.time() + lead + 1000)
    task = Task(
        CleanRoomsMLStartAudienceExportJobOperator,
        name="export-{{ ti.try_number }}",
        audience_generation_job_arn=job,
        audience_size=size,
        wait_for_completion=False,
    )
    task.use_state_store()
    world.add_fault("StartAudienceExportJob", "reset")
    with pytest.raises(OutcomeUnsettledError):
        task.run()
    assert task.retry()["name"] == "export-2"


def test_warning_names_exports_that_may_belong_to_task(world: World, caplog: pytest.LogCaptureFixture) -> None:
    task = Task(
        CleanRoomsMLStartAudienceExportJobOperator,
        name="export-{{ ti.try_number }}",
        audience_generation_job_arn=world.generate_audience(),
        audience_size={"type": "PERCENTAGE", "value": 5},
        wait_for_completion=False,
    )
    task.run()
    assert task.retry()["name"] == "export-2"
    assert "created one of these audience export jobs with other arguments: 'export-1'" in caplog.text


def test_state_store_leads_to_renamed_association(world: World) -> None:
    task = Task(
        CleanRoomsCreateConfiguredAudienceModelAssociationOperator,
        membership_identifier=collaborate(world).find_membership(world),
        configured_audience_model_arn=world.create_configured_model(),
        configured_audience_model_association_name="offer-{{ ti.try_number }}",
        manage_resource_policies=True,
    )
    task.use_state_store()
    world.add_fault("CreateConfiguredAudienceModelAssociation", "lose_response")
    world.add_fault("ListConfiguredAudienceModelAssociations", "access_denied")
    with pytest.raises(AccessDeniedError):
        task.run()
    first = task.retry()
    assert task.retry() == first
    assert world.calls.count("CreateConfiguredAudienceModelAssociation") == 1


def test_retry_updates_resource_of_first_try(world: World) -> None:
    task = Task(
        CleanRoomsMLCreateConfiguredAudienceModelOperator,
        name="terms-{{ ti.try_number }}",
        audience_model_arn=world.train_model(),
        output_config=world.output,
        shared_audience_metrics=["ALL"],
        if_exists="update",
    )
    arn = task.run()
    assert task.retry(shared_audience_metrics=["NONE"]) == arn
    model = world.ml.get_configured_audience_model(configuredAudienceModelArn=arn)
    assert (model["name"], model["sharedAudienceMetrics"]) == ("terms-1", ["NONE"])
    assert world.calls.count("CreateConfiguredAudienceModel") == 1


@versioned
@pytest.mark.parametrize("has_store", [False, True], ids=["without state store", "with state store"])
@pytest.mark.parametrize(
    "changed", [{"hyperparameters": {"depth": "2"}}, {"name": "another", "hyperparameters": {"depth": "2"}}]
)
def test_retry_reuses_further_version(studio: Studio, changed: dict[str, Any], has_store: bool) -> None:
    channel = {"trainedModelArn": studio.model, "channelName": "before", "versionIdentifier": "NULL"}
    task = Task(
        CleanRoomsMLCreateTrainedModelOperator, **studio.build_training(incremental_training_data_channels=[channel])
    )
    if has_store:
        task.use_state_store()
    task.run()
    version = task.pushed["version_identifier"]
    task.retry(**changed)
    assert task.pushed["version_identifier"] == version
    assert studio.world.calls.count("CreateTrainedModel") == 2
    task.clear_and_run(hyperparameters={"depth": "3"})
    assert task.pushed["version_identifier"] != version


@versioned
def test_retry_reuses_version_if_base_model_differs(studio: Studio) -> None:
    def build_channels(arn: str) -> list[dict[str, str]]:
        return [{"trainedModelArn": arn, "channelName": "before", "versionIdentifier": "NULL"}]

    other = run(CleanRoomsMLCreateTrainedModelOperator(**studio.build_training("other"))).result
    task = Task(CleanRoomsMLCreateTrainedModelOperator, **studio.build_training("next"))
    first = task.run(incremental_training_data_channels=build_channels(studio.model))
    version = task.pushed["version_identifier"]
    assert task.retry(incremental_training_data_channels=build_channels(other)) == first
    assert task.pushed["version_identifier"] == version
    # The retry reuses it even if its arguments no longer request a further version.
    assert task.retry(incremental_training_data_channels=None, name="another") == first
    assert task.pushed["version_identifier"] == version


@versioned
def test_base_version_is_not_taken_for_further_one(studio: Studio) -> None:
    channel = {"trainedModelArn": studio.model, "channelName": "before", "versionIdentifier": "NULL"}
    task = Task(
        CleanRoomsMLCreateTrainedModelOperator, **studio.build_training(incremental_training_data_channels=[channel])
    )
    studio.world.emulator.advance(3600)
    task.run()
    version = task.pushed["version_identifier"]
    # The base version shares the tags of the further version, which the stale listing does not show.
    studio.world.add_fault("ListTrainedModelVersions", "stale_listing", seconds=1800)
    task.retry(hyperparameters={"depth": "2"})
    assert studio.world.emulator.list_faults(studio.world.account) == []
    assert task.pushed["version_identifier"] == version
    assert studio.world.calls.count("CreateTrainedModel") == 2


def test_find_created_finds_resource_that_retry_has_not_looked_up(empty_world: World) -> None:
    task = build_dataset_task(empty_world)
    first = task.run()
    task.ti = task.ti.make_next_try()
    operator = task.cls(**{**task.arguments, "name": "another", **build_other_arguments(0)})
    store = StateStore()
    create_once = operator._build_create_once({"params": {}, "ti": task.ti, "task_state_store": store})
    assert create_once.find_created().identifiers == {"training_dataset_arn": first}
    # A process that is being killed does not write to its supervisor.
    assert store == {}


def test_find_created_ignores_resource_from_before_clear(empty_world: World) -> None:
    task = build_dataset_task(empty_world)
    task.run()
    task.ti = task.ti.make_cleared_try()
    operator = task.cls(**{**task.arguments, **build_other_arguments(0)})
    assert operator._build_create_once({"params": {}, "ti": task.ti}).find_created() is None


def test_find_created_finds_nothing_before_request(world: World) -> None:
    arguments: dict[str, Any] = {
        "name": "e",
        "audience_generation_job_arn": world.generate_audience(),
        "audience_size": {"type": "PERCENTAGE", "value": 5},
    }
    run(CleanRoomsMLStartAudienceExportJobOperator(task_id="other", wait_for_completion=False, **arguments))
    operator = CleanRoomsMLStartAudienceExportJobOperator(task_id="task", **arguments)
    context: Any = {"params": {}, "ti": TaskInstance()}
    assert operator._build_create_once(context).find_created() is None
