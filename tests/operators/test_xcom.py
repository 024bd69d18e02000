"""A task pushes what it created as soon as that is known, pushes nothing with ``do_xcom_push=False``, and leaves no notes."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest

from airflow_cleanroomsml import _xcom
from airflow_cleanroomsml._idempotency import previous_tries
from airflow_cleanroomsml.exceptions import (
    AccessDeniedError,
    CleanRoomsMLError,
    DataCheckFailedError,
    InvalidRequestError,
    JobFailedError,
    ResourceNotFoundError,
)
from airflow_cleanroomsml.operators import (
    CleanRoomsFindConfiguredAudienceModelOperator,
    CleanRoomsMLCheckSeedAudienceOperator,
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLCreateConfiguredAudienceModelOperator,
    CleanRoomsMLCreateTrainedModelOperator,
    CleanRoomsMLDeleteAudienceModelOperator,
    CleanRoomsMLDeleteTrainedModelOutputOperator,
    CleanRoomsMLStartAudienceExportJobOperator,
)
from airflow_cleanroomsml.operators._create import CleanRoomsMLCreateOperator
from airflow_cleanroomsml.operators._delete import CleanRoomsMLDeleteOperator
from airflow_cleanroomsml.sensors import CleanRoomsMLAudienceGenerationJobSensor
from tests.helpers.collaboration import collaborate
from tests.helpers.custom_models import KNOWS_VERSIONS, Studio, versioned
from tests.helpers.exported_classes import OPERATIONS, list_required
from tests.idempotency.test_create_once import StateStore
from tests.operators.test_troubles import defer
from tests.support import TaskInstance, World, run
from tests.survival.create_operators import OPERATOR_SETUPS, OperatorSetup
from tests.survival.runner import operation_name

both_ways = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
every_maker = pytest.mark.parametrize("maker", OPERATOR_SETUPS, ids=lambda maker: maker.title)
every_job = pytest.mark.parametrize(
    "maker", [maker for maker in OPERATOR_SETUPS if maker.waits], ids=lambda maker: maker.title
)
VERSION = ["version_identifier"] if KNOWS_VERSIONS else []
#: The keys under which an operator pushes the identifiers of what it created.
KEYS = {
    "create_training_dataset": ["training_dataset_arn"],
    "create_audience_model": ["audience_model_arn"],
    "create_configured_audience_model": ["configured_audience_model_arn"],
    "create_configured_audience_model_association": [
        "configured_audience_model_association_identifier",
        "configured_audience_model_association_arn",
    ],
    "start_audience_generation_job": ["audience_generation_job_arn"],
    "start_audience_export_job": ["audience_export_job"],
    "create_configured_model_algorithm": ["configured_model_algorithm_arn"],
    "create_configured_model_algorithm_association": ["configured_model_algorithm_association_arn"],
    "create_ml_input_channel": ["ml_input_channel_arn"],
    "create_trained_model": ["trained_model_arn", *VERSION],
    "start_trained_model_export_job": ["trained_model_export_job"],
    "start_trained_model_inference_job": ["trained_model_inference_job_arn"],
}


class Scene:
    """
    The resources that one operator needs, created once for all its tests.

    :param maker: The operator.
    :param world: A separate account.
    """

    def __init__(self, maker: OperatorSetup, world: World) -> None:
        self.maker, self.world = maker, world
        self.arguments = maker.prepare(world)
        self.name = ""

    def build_task(self, **more: Any) -> Any:
        """Build a task that creates a resource with a unique name."""
        if self.maker.tasks == 1:
            self.arguments = self.maker.prepare(self.world)
        self.name = f"new-{uuid.uuid4().hex[:8]}"
        soon = {"waiter_delay": 0.2} if self.maker.waits else {}
        return self.maker.operator(
            **{**self.arguments, "task_id": "task", self.maker.name_argument: self.name, **soon, **more}
        )

    def add_fault(self, operation: str, kind: str, **more: Any) -> None:
        self.world.add_fault(operation_name(self.maker.operator.service, operation), kind, **more)

    @property
    def identity(self) -> Any:
        """The identifiers of the only resource of that name, read with plain boto3."""
        (resource,) = [
            resource for resource in self.maker.list_resources(self.world, self.arguments) if resource.name == self.name
        ]
        return remove_location(resource.identity)


@pytest.fixture(scope="module")
def scenes() -> dict[str, Scene]:
    return {}


@pytest.fixture
def scene(maker: OperatorSetup, scenes: dict[str, Scene], empty_world: World, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """The scene of an operator; ``aws_default`` connects to its account."""
    if maker.title not in scenes:
        scenes[maker.title] = Scene(maker, empty_world)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", scenes[maker.title].world.account)
    return scenes[maker.title]


def find_identifiers(maker: OperatorSetup, pushed: dict[str, Any]) -> Any:
    """Find the same identifiers in what was pushed."""
    value = pushed[KEYS[maker.title][0]]
    if not isinstance(value, dict):
        return value
    # The location of the files is known only at the end.
    parent = next(name for name in ("trained_model_arn", "audience_generation_job_arn") if name in value)
    return {"name": value["name"], parent: value[parent]}


def remove_location(identity: Any) -> Any:
    return {k: v for k, v in identity.items() if k != "output_location"} if isinstance(identity, dict) else identity


def run_to_failure(operator: Any, error: type[Exception] = JobFailedError, **context: Any) -> str:
    with pytest.raises(error) as caught:
        run(operator, **context)
    return str(caught.value)


def test_keys_cover_every_create_operator() -> None:
    assert set(KEYS) == {cls.operation for cls in OPERATIONS if issubclass(cls, CleanRoomsMLCreateOperator)}


@every_maker
def test_created_resource_is_pushed(scene: Scene, maker: OperatorSetup) -> None:
    task_run = run(scene.build_task())
    assert set(KEYS[maker.title]) <= set(task_run.pushed)
    assert find_identifiers(maker, task_run.pushed) == remove_location(task_run.result) == scene.identity


@both_ways
@every_job
def test_failed_job_is_pushed(scene: Scene, maker: OperatorSetup, deferrable: bool) -> None:
    ti = TaskInstance()
    scene.add_fault(maker.title, "fail_job")
    run_to_failure(scene.build_task(deferrable=deferrable), ti=ti)
    assert set(ti.pushed) == {*KEYS[maker.title], _xcom.STATUS_HISTORY_KEY}
    assert find_identifiers(maker, ti.pushed) == scene.identity
    assert ti.pushed[_xcom.STATUS_HISTORY_KEY][-1]["status"] == "CREATE_FAILED"


@every_job
def test_job_is_pushed_before_deferral(scene: Scene, maker: OperatorSetup) -> None:
    ti = TaskInstance()
    # A task polls once before it defers; a poll that is throttled does not see that the job has ended.
    scene.add_fault(maker.operator.resource.get or maker.operator.resource.list, "throttle", times=0)
    once = {"retries": {"total_max_attempts": 1}}
    defer(scene.build_task(deferrable=True, botocore_config=once), {"params": {}, "ti": ti})
    scene.world.emulator.clear_faults(scene.world.account)
    assert find_identifiers(maker, ti.pushed) == scene.identity


@versioned
@both_ways
def test_new_version_is_pushed_with_its_identifier(studio: Studio, deferrable: bool) -> None:
    before = {"trainedModelArn": studio.model, "channelName": "before"}
    arguments = studio.build_training(incremental_training_data_channels=[before], deferrable=deferrable)
    studio.world.add_fault("CreateTrainedModel", "fail_job")
    ti = TaskInstance()
    run_to_failure(CleanRoomsMLCreateTrainedModelOperator(**arguments), ti=ti)
    versions = studio.ml.list_trained_model_versions(**studio.of, trainedModelArn=studio.model)["trainedModels"]
    (failed,) = [entry for entry in versions if entry["status"] == "CREATE_FAILED"]
    expected = {"trained_model_arn": studio.model, "version_identifier": failed["versionIdentifier"]}
    assert {name: ti.pushed[name] for name in expected} == expected


class TestTries:
    """Airflow clears XCom when a try starts."""

    @pytest.fixture(autouse=True)
    def _short_lag(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(previous_tries, "COMMIT_LAG", (0.1,))

    def train(self, dataset: str, **more: Any) -> CleanRoomsMLCreateAudienceModelOperator:
        arguments = {"task_id": "task", "name": "model", "training_dataset_arn": dataset, "waiter_delay": 0.2}
        return CleanRoomsMLCreateAudienceModelOperator(**{**arguments, **more})

    def interrupt(self, world: World, ti: TaskInstance, dataset: str, **context: Any) -> Any:
        """Run a try whose wait is interrupted, and return the ARN of its model."""
        world.add_fault("GetAudienceModel", "access_denied")
        run_to_failure(self.train(dataset), CleanRoomsMLError, ti=ti, **context)
        return ti.pushed["audience_model_arn"]

    @both_ways
    def test_retry_pushes_what_it_finds(self, world: World, deferrable: bool) -> None:
        first, dataset = TaskInstance(), world.create_dataset()
        arn = self.interrupt(world, first, dataset)
        retry = run(self.train(dataset, deferrable=deferrable), ti=first.make_next_try())
        assert retry.pushed["audience_model_arn"] == retry.result == arn

    def test_model_of_lost_response_is_pushed(self, world: World) -> None:
        world.add_fault("CreateAudienceModel", "lose_response")
        task_run = run(self.train(world.create_dataset()))
        assert task_run.pushed["audience_model_arn"] == task_run.result

    def test_reused_model_is_pushed(self, world: World) -> None:
        arn = world.train_model("model")
        dataset = world.ml.get_audience_model(audienceModelArn=arn)["trainingDatasetArn"]
        assert run(self.train(dataset, if_exists="reuse")).pushed["audience_model_arn"] == arn

    @pytest.mark.parametrize("owner", ["another run", "this run"])
    def test_model_of_failed_update_is_pushed(self, world: World, owner: str) -> None:
        first = TaskInstance()
        arguments: dict[str, Any] = {
            "task_id": "task",
            "name": "terms",
            "audience_model_arn": world.train_model(),
            "output_config": world.output,
        }
        arn = run(
            CleanRoomsMLCreateConfiguredAudienceModelOperator(**arguments, shared_audience_metrics=["ALL"]), ti=first
        ).result
        ti = first.make_cleared_try() if owner == "this run" else TaskInstance()
        world.add_fault("UpdateConfiguredAudienceModel", "access_denied")
        update = CleanRoomsMLCreateConfiguredAudienceModelOperator(
            **arguments, shared_audience_metrics=["NONE"], if_exists="update"
        )
        run_to_failure(update, AccessDeniedError, ti=ti)
        assert ti.pushed == {"configured_audience_model_arn": arn}

    def test_model_with_retry_name_is_pushed(self, world: World) -> None:
        first, dataset = TaskInstance(), world.create_dataset()
        world.add_fault("CreateAudienceModel", "fail_job")
        run_to_failure(self.train(dataset), ti=first)
        second = run(self.train(dataset), ti=first.make_next_try())
        assert second.pushed["audience_model_arn"] == second.result != first.pushed["audience_model_arn"]
        name = world.ml.get_audience_model(audienceModelArn=second.result)["name"]
        assert name == "model-retry-2"

    def test_actual_name_of_export_is_pushed(self, world: World) -> None:
        export = CleanRoomsMLStartAudienceExportJobOperator(
            task_id="task",
            name="export",
            audience_generation_job_arn=world.generate_audience(),
            audience_size={"type": "PERCENTAGE", "value": 10},
            waiter_delay=0.2,
        )
        first = TaskInstance()
        world.add_fault("StartAudienceExportJob", "fail_job")
        run_to_failure(export, ti=first)
        second = run(export, ti=first.make_next_try())
        names = [pushed["audience_export_job"]["name"] for pushed in (first.pushed, second.pushed)]
        assert names == ["export", "export-retry-2"]

    def test_model_in_state_store_is_pushed_if_reads_are_denied(self, world: World) -> None:
        first, dataset, store = TaskInstance(), world.create_dataset(), StateStore()
        arn = self.interrupt(world, first, dataset, task_state_store=store)
        second = first.make_next_try()
        world.add_fault("GetAudienceModel", "access_denied", times=0)
        run_to_failure(self.train(dataset), AccessDeniedError, ti=second, task_state_store=store)
        assert second.pushed == {"audience_model_arn": arn}

    def test_nothing_is_pushed_without_model(self, world: World) -> None:
        ti = TaskInstance()
        world.add_fault("CreateAudienceModel", "access_denied")
        run_to_failure(self.train(world.create_dataset()), AccessDeniedError, ti=ti)
        assert ti.pushed == {}

    def test_failure_of_xcom_creates_no_second_model(self, world: World) -> None:
        task_run = run(self.train(world.create_dataset(), durable=False), ti=TaskInstanceWithBrokenXCom())
        assert [task_run.result] == [
            entry["audienceModelArn"] for entry in world.ml.list_audience_models()["audienceModels"]
        ]


class TaskInstanceWithBrokenXCom(TaskInstance):
    """A task instance whose XCom backend fails."""

    def xcom_push(self, key: str, value: Any) -> None:
        raise ConnectionError(f"{key} cannot be stored")


class TestWithoutXCom:
    """``do_xcom_push=False``."""

    @both_ways
    @every_maker
    def test_operator_pushes_nothing(self, scene: Scene, maker: OperatorSetup, deferrable: bool) -> None:
        task_run = run(scene.build_task(do_xcom_push=False, **({"deferrable": deferrable} if maker.waits else {})))
        assert (remove_location(task_run.result), task_run.pushed) == (scene.identity, {})

    @both_ways
    def test_sensor_pushes_nothing(self, world: World, deferrable: bool) -> None:
        sensor = CleanRoomsMLAudienceGenerationJobSensor(
            task_id="task",
            audience_generation_job_arn=world.generate_audience(),
            deferrable=deferrable,
            do_xcom_push=False,
        )
        assert run(sensor).pushed == {}

    def test_lookup_pushes_nothing(self, empty_world: World) -> None:
        lookup = CleanRoomsFindConfiguredAudienceModelOperator(
            task_id="task", collaboration_identifier=collaborate(empty_world).id, do_xcom_push=False
        )
        ti = TaskInstance()
        run_to_failure(lookup, ResourceNotFoundError, ti=ti)
        assert ti.pushed == {}


class TestErrorWithBrokenXCom:
    """A failed push must not replace the error that says what is wrong and whether a retry helps."""

    def test_check_reports_findings(self, empty_world: World) -> None:
        seed: Any = {"dataSource": {"s3Uri": f"s3://{empty_world.bucket}/seed"}, "roleArn": empty_world.role}
        check = CleanRoomsMLCheckSeedAudienceOperator(task_id="task", seed_audience=seed)
        assert "BUCKET_NOT_FOUND" in run_to_failure(check, DataCheckFailedError, ti=TaskInstanceWithBrokenXCom())

    def test_lookup_says_what_is_missing(self, empty_world: World) -> None:
        lookup = CleanRoomsFindConfiguredAudienceModelOperator(
            task_id="task", collaboration_identifier=collaborate(empty_world).id
        )
        assert "No member has associated" in run_to_failure(
            lookup, ResourceNotFoundError, ti=TaskInstanceWithBrokenXCom()
        )


class TestDeferralNote:
    def train(self, world: World, **more: Any) -> Any:
        return CleanRoomsMLCreateAudienceModelOperator(
            task_id="task",
            name="model",
            training_dataset_arn=world.create_dataset(),
            deferrable=True,
            waiter_delay=0.2,
            **more,
        )

    @pytest.mark.parametrize("push", [True, False])
    def test_note_exists_during_deferral(self, slow_world: World, push: bool) -> None:
        ti = TaskInstance()
        defer(self.train(slow_world, do_xcom_push=push), {"params": {}, "ti": ti})
        assert set(ti.pushed) == {_xcom.DEFERRAL_KEY, *(["audience_model_arn"] if push else [])}

    @pytest.mark.parametrize("fails", [False, True])
    def test_note_is_deleted_at_end(self, world: World, fails: bool) -> None:
        ti = TaskInstance()
        if fails:
            world.add_fault("CreateAudienceModel", "fail_job")
            run_to_failure(self.train(world), ti=ti)
        else:
            run(self.train(world), ti=ti)
        assert set(ti.pushed) == {"audience_model_arn", _xcom.STATUS_HISTORY_KEY}

    def test_note_is_deleted_after_queueing(self, world: World) -> None:
        ti = TaskInstance()
        ti.map_index = 0
        operator = self.train(world)
        assert defer(operator, {"params": {}, "ti": ti}).method_name == "execute_in_turn"
        assert set(ti.pushed) == {_xcom.DEFERRAL_KEY}
        run(operator, ti=ti)
        assert set(ti.pushed) == {"audience_model_arn", _xcom.STATUS_HISTORY_KEY}

    @pytest.mark.parametrize("mapped", [False, True], ids=["waiting", "queued"])
    def test_note_is_deleted_if_trigger_fails(self, slow_world: World, mapped: bool) -> None:
        ti = TaskInstance()
        ti.map_index = 0 if mapped else -1
        operator, context = self.train(slow_world), {"params": {}, "ti": ti}
        defer(operator, context)
        with pytest.raises(CleanRoomsMLError):
            operator.resume_execution("__fail__", {"error": "Trigger failure"}, context)
        assert _xcom.DEFERRAL_KEY not in ti.pushed

    def test_undeletable_note_is_tolerated(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        ti = TaskInstance()
        monkeypatch.delattr(TaskInstance, "xcom_delete")
        assert run(self.train(world), ti=ti).result == ti.pushed["audience_model_arn"]


@pytest.mark.parametrize("absent", [None, "None"], ids=["native", "text"])
@pytest.mark.parametrize(
    "cls", [cls for cls in OPERATIONS if issubclass(cls, CleanRoomsMLDeleteOperator)], ids=lambda cls: cls.__name__
)
def test_delete_without_identifier_says_what_to_do(empty_world: World, cls: Any, absent: Any) -> None:
    message = run_to_failure(cls(task_id="task", **dict.fromkeys(list_required(cls), absent)), InvalidRequestError)
    for argument in list_required(cls):
        assert f"{argument}: " in message
    assert re.search("None: if (it is|they are) pulled from XCom, nothing was pushed under that key.", message)
    assert "mark this task as success or skipped" in message
    assert empty_world.calls == []


def test_delete_with_bad_argument_does_not_mention_xcom(empty_world: World) -> None:
    message = run_to_failure(
        CleanRoomsMLDeleteAudienceModelOperator(task_id="task", audience_model_arn="x"), InvalidRequestError
    )
    assert "XCom" not in message


def test_optional_version_is_not_mentioned(empty_world: World) -> None:
    delete = CleanRoomsMLDeleteTrainedModelOutputOperator(
        task_id="task", membership_identifier="x", trained_model_arn="None", version_identifier=None
    )
    assert "\n  trained_model_arn is None" in run_to_failure(delete, InvalidRequestError)
