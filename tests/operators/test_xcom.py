"""What a task pushes to XCom: what it made, as soon as that is known; nothing with ``do_xcom_push=False``; no leftovers."""

from __future__ import annotations

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
from tests.operators.test_troubles import deferred
from tests.support import TaskInstance, World, run
from tests.survival.create_operators import OPERATOR_SETUPS, OperatorSetup
from tests.survival.runner import operation_name

both_ways = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
every_maker = pytest.mark.parametrize("maker", OPERATOR_SETUPS, ids=lambda maker: maker.title)
every_job = pytest.mark.parametrize(
    "maker", [maker for maker in OPERATOR_SETUPS if maker.waits], ids=lambda maker: maker.title
)
VERSION = ["version_identifier"] if KNOWS_VERSIONS else []
#: The keys that name what an operator has made.
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
    What one operator needs, made once for all its tests.

    :param maker: The operator.
    :param world: An account of its own.
    """

    def __init__(self, maker: OperatorSetup, world: World) -> None:
        self.maker, self.world = maker, world
        self.given = maker.prepare(world)
        self.name = ""

    def task(self, **more: Any) -> Any:
        """A task that makes something under a name that nothing else has."""
        if self.maker.tasks == 1:
            self.given = self.maker.prepare(self.world)
        self.name = f"made-{uuid.uuid4().hex[:8]}"
        soon = {"waiter_delay": 0.2} if self.maker.waits else {}
        return self.maker.operator(
            **{**self.given, "task_id": "task", self.maker.name_argument: self.name, **soon, **more}
        )

    def add_fault(self, operation: str, kind: str, **more: Any) -> None:
        self.world.add_fault(operation_name(self.maker.operator.service, operation), kind, **more)

    @property
    def identity(self) -> Any:
        """What identifies the one thing of that name, as plain boto3 sees it."""
        (found,) = [made for made in self.maker.list_resources(self.world, self.given) if made.name == self.name]
        return without_location(found.identity)


@pytest.fixture(scope="module")
def scenes() -> dict[str, Scene]:
    return {}


@pytest.fixture
def scene(maker: OperatorSetup, scenes: dict[str, Scene], empty_world: World, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """The scene of an operator; ``aws_default`` leads to its account."""
    if maker.title not in scenes:
        scenes[maker.title] = Scene(maker, empty_world)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", scenes[maker.title].world.account)
    return scenes[maker.title]


def named(maker: OperatorSetup, pushed: dict[str, Any]) -> Any:
    """The same of what was pushed."""
    value = pushed[KEYS[maker.title][0]]
    if not isinstance(value, dict):
        return value
    # Where the files are is known only at the end.
    parent = next(name for name in ("trained_model_arn", "audience_generation_job_arn") if name in value)
    return {"name": value["name"], parent: value[parent]}


def without_location(identity: Any) -> Any:
    return {k: v for k, v in identity.items() if k != "output_location"} if isinstance(identity, dict) else identity


def failure(operator: Any, error: type[Exception] = JobFailedError, **context: Any) -> str:
    with pytest.raises(error) as caught:
        run(operator, **context)
    return str(caught.value)


def test_the_keys_of_every_operator_that_makes_something_are_listed() -> None:
    assert set(KEYS) == {cls.operation for cls in OPERATIONS if issubclass(cls, CleanRoomsMLCreateOperator)}


@every_maker
def test_what_was_made_is_pushed_under_keys_of_its_own(scene: Scene, maker: OperatorSetup) -> None:
    done = run(scene.task())
    assert set(KEYS[maker.title]) <= set(done.pushed)
    assert named(maker, done.pushed) == without_location(done.result) == scene.identity


@both_ways
@every_job
def test_it_is_pushed_of_a_job_that_fails(scene: Scene, maker: OperatorSetup, deferrable: bool) -> None:
    ti = TaskInstance()
    scene.add_fault(maker.title, "fail_job")
    failure(scene.task(deferrable=deferrable), ti=ti)
    assert set(ti.pushed) == {*KEYS[maker.title], _xcom.STATUS_HISTORY_KEY}
    assert named(maker, ti.pushed) == scene.identity
    assert ti.pushed[_xcom.STATUS_HISTORY_KEY][-1]["status"] == "CREATE_FAILED"


@every_job
def test_it_is_pushed_before_the_wait_is_deferred(scene: Scene, maker: OperatorSetup) -> None:
    ti = TaskInstance()
    # A task looks once before it defers; a look that is throttled does not see that the job is done.
    scene.add_fault(maker.operator.resource.get or maker.operator.resource.list, "throttle", times=0)
    once = {"retries": {"total_max_attempts": 1}}
    deferred(scene.task(deferrable=True, botocore_config=once), {"params": {}, "ti": ti})
    scene.world.emulator.clear_faults(scene.world.account)
    assert named(maker, ti.pushed) == scene.identity


@versioned
@both_ways
def test_a_further_version_is_named_with_its_own_identifier(studio: Studio, deferrable: bool) -> None:
    before = {"trainedModelArn": studio.model, "channelName": "before"}
    further = studio.build_training(incremental_training_data_channels=[before], deferrable=deferrable)
    studio.world.add_fault("CreateTrainedModel", "fail_job")
    ti = TaskInstance()
    failure(CleanRoomsMLCreateTrainedModelOperator(**further), ti=ti)
    versions = studio.ml.list_trained_model_versions(**studio.of, trainedModelArn=studio.model)["trainedModels"]
    (failed,) = [entry for entry in versions if entry["status"] == "CREATE_FAILED"]
    expected = {"trained_model_arn": studio.model, "version_identifier": failed["versionIdentifier"]}
    assert {name: ti.pushed[name] for name in expected} == expected


class TestTries:
    """Airflow clears XCom when a try starts."""

    @pytest.fixture(autouse=True)
    def _soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(previous_tries, "COMMIT_LAG", (0.1,))

    def train(self, dataset: str, **more: Any) -> CleanRoomsMLCreateAudienceModelOperator:
        given = {"task_id": "task", "name": "model", "training_dataset_arn": dataset, "waiter_delay": 0.2}
        return CleanRoomsMLCreateAudienceModelOperator(**{**given, **more})

    def broken_off(self, world: World, ti: TaskInstance, dataset: str, **context: Any) -> Any:
        """The ARN of what a try has made whose wait was broken off."""
        world.add_fault("GetAudienceModel", "access_denied")
        failure(self.train(dataset), CleanRoomsMLError, ti=ti, **context)
        return ti.pushed["audience_model_arn"]

    @both_ways
    def test_a_retry_pushes_what_it_finds(self, world: World, deferrable: bool) -> None:
        first, dataset = TaskInstance(), world.create_dataset()
        arn = self.broken_off(world, first, dataset)
        again = run(self.train(dataset, deferrable=deferrable), ti=first.make_next_try())
        assert again.pushed["audience_model_arn"] == again.result == arn

    def test_what_is_found_after_a_lost_answer(self, world: World) -> None:
        world.add_fault("CreateAudienceModel", "lose_response")
        done = run(self.train(world.create_dataset()))
        assert done.pushed["audience_model_arn"] == done.result

    def test_what_is_reused(self, world: World) -> None:
        arn = world.train_model("model")
        dataset = world.ml.get_audience_model(audienceModelArn=arn)["trainingDatasetArn"]
        assert run(self.train(dataset, if_exists="reuse")).pushed["audience_model_arn"] == arn

    @pytest.mark.parametrize("owner", ["another run", "this run"])
    def test_what_cannot_be_updated(self, world: World, owner: str) -> None:
        first = TaskInstance()
        given: dict[str, Any] = {
            "task_id": "task",
            "name": "terms",
            "audience_model_arn": world.train_model(),
            "output_config": world.output,
        }
        arn = run(
            CleanRoomsMLCreateConfiguredAudienceModelOperator(**given, shared_audience_metrics=["ALL"]), ti=first
        ).result
        ti = first.make_cleared_try() if owner == "this run" else TaskInstance()
        world.add_fault("UpdateConfiguredAudienceModel", "access_denied")
        update = CleanRoomsMLCreateConfiguredAudienceModelOperator(
            **given, shared_audience_metrics=["NONE"], if_exists="update"
        )
        failure(update, AccessDeniedError, ti=ti)
        assert ti.pushed == {"configured_audience_model_arn": arn}

    def test_what_has_another_name_for_the_first_has_failed(self, world: World) -> None:
        first, dataset = TaskInstance(), world.create_dataset()
        world.add_fault("CreateAudienceModel", "fail_job")
        failure(self.train(dataset), ti=first)
        second = run(self.train(dataset), ti=first.make_next_try())
        assert second.pushed["audience_model_arn"] == second.result != first.pushed["audience_model_arn"]
        name = world.ml.get_audience_model(audienceModelArn=second.result)["name"]
        assert name == "model-retry-2"

    def test_an_export_is_named_by_the_name_it_has(self, world: World) -> None:
        export = CleanRoomsMLStartAudienceExportJobOperator(
            task_id="task",
            name="export",
            audience_generation_job_arn=world.generate_audience(),
            audience_size={"type": "PERCENTAGE", "value": 10},
            waiter_delay=0.2,
        )
        first = TaskInstance()
        world.add_fault("StartAudienceExportJob", "fail_job")
        failure(export, ti=first)
        second = run(export, ti=first.make_next_try())
        names = [pushed["audience_export_job"]["name"] for pushed in (first.pushed, second.pushed)]
        assert names == ["export", "export-retry-2"]

    def test_what_the_state_store_remembers_where_the_next_try_may_not_look(self, world: World) -> None:
        first, dataset, store = TaskInstance(), world.create_dataset(), StateStore()
        arn = self.broken_off(world, first, dataset, task_state_store=store)
        second = first.make_next_try()
        world.add_fault("GetAudienceModel", "access_denied", times=0)
        failure(self.train(dataset), AccessDeniedError, ti=second, task_state_store=store)
        assert second.pushed == {"audience_model_arn": arn}

    def test_what_was_never_made_has_no_key(self, world: World) -> None:
        ti = TaskInstance()
        world.add_fault("CreateAudienceModel", "access_denied")
        failure(self.train(world.create_dataset()), AccessDeniedError, ti=ti)
        assert ti.pushed == {}

    def test_an_xcom_that_fails_costs_no_second_model(self, world: World) -> None:
        done = run(self.train(world.create_dataset(), durable=False), ti=Broken())
        assert [done.result] == [
            entry["audienceModelArn"] for entry in world.ml.list_audience_models()["audienceModels"]
        ]


class Broken(TaskInstance):
    """A task of an Airflow whose XCom backend fails."""

    def xcom_push(self, key: str, value: Any) -> None:
        raise ConnectionError(f"{key} cannot be stored")


class TestWithoutXCom:
    """``do_xcom_push=False``."""

    @both_ways
    @every_maker
    def test_an_operator_pushes_nothing(self, scene: Scene, maker: OperatorSetup, deferrable: bool) -> None:
        done = run(scene.task(do_xcom_push=False, **({"deferrable": deferrable} if maker.waits else {})))
        assert (without_location(done.result), done.pushed) == (scene.identity, {})

    @both_ways
    def test_a_sensor_pushes_nothing(self, world: World, deferrable: bool) -> None:
        sensor = CleanRoomsMLAudienceGenerationJobSensor(
            task_id="task",
            audience_generation_job_arn=world.generate_audience(),
            deferrable=deferrable,
            do_xcom_push=False,
        )
        assert run(sensor).pushed == {}

    def test_a_lookup_pushes_nothing(self, empty_world: World) -> None:
        lookup = CleanRoomsFindConfiguredAudienceModelOperator(
            task_id="task", collaboration_identifier=collaborate(empty_world).id, do_xcom_push=False
        )
        ti = TaskInstance()
        failure(lookup, ResourceNotFoundError, ti=ti)
        assert ti.pushed == {}


class TestAnErrorWhoseXComFails:
    """What cannot be pushed must not replace the error that says what is wrong, and whether a retry helps."""

    def test_a_check_that_fails(self, empty_world: World) -> None:
        seed: Any = {"dataSource": {"s3Uri": f"s3://{empty_world.bucket}/seed"}, "roleArn": empty_world.role}
        check = CleanRoomsMLCheckSeedAudienceOperator(task_id="task", seed_audience=seed)
        assert "BUCKET_NOT_FOUND" in failure(check, DataCheckFailedError, ti=Broken())

    def test_a_lookup_that_finds_nothing(self, empty_world: World) -> None:
        lookup = CleanRoomsFindConfiguredAudienceModelOperator(
            task_id="task", collaboration_identifier=collaborate(empty_world).id
        )
        assert "No member has associated" in failure(lookup, ResourceNotFoundError, ti=Broken())


class TestTheNoteOfADeferral:
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
    def test_it_is_there_while_the_task_is_deferred(self, slow_world: World, push: bool) -> None:
        ti = TaskInstance()
        deferred(self.train(slow_world, do_xcom_push=push), {"params": {}, "ti": ti})
        assert set(ti.pushed) == {_xcom.DEFERRAL_KEY, *(["audience_model_arn"] if push else [])}

    @pytest.mark.parametrize("fails", [False, True])
    def test_it_is_gone_at_the_end(self, world: World, fails: bool) -> None:
        ti = TaskInstance()
        if fails:
            world.add_fault("CreateAudienceModel", "fail_job")
            failure(self.train(world), ti=ti)
        else:
            run(self.train(world), ti=ti)
        assert set(ti.pushed) == {"audience_model_arn", _xcom.STATUS_HISTORY_KEY}

    def test_it_is_gone_after_a_turn(self, world: World) -> None:
        ti = TaskInstance()
        ti.map_index = 0
        operator = self.train(world)
        assert deferred(operator, {"params": {}, "ti": ti}).method_name == "execute_in_turn"
        assert set(ti.pushed) == {_xcom.DEFERRAL_KEY}
        run(operator, ti=ti)
        assert set(ti.pushed) == {"audience_model_arn", _xcom.STATUS_HISTORY_KEY}

    @pytest.mark.parametrize("mapped", [False, True], ids=["waiting", "queued"])
    def test_it_is_gone_where_airflow_ended_the_deferral(self, slow_world: World, mapped: bool) -> None:
        ti = TaskInstance()
        ti.map_index = 0 if mapped else -1
        operator, context = self.train(slow_world), {"params": {}, "ti": ti}
        deferred(operator, context)
        with pytest.raises(CleanRoomsMLError):
            operator.resume_execution("__fail__", {"error": "Trigger failure"}, context)
        assert _xcom.DEFERRAL_KEY not in ti.pushed

    def test_what_cannot_be_deleted_fails_nothing(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        ti = TaskInstance()
        monkeypatch.delattr(TaskInstance, "xcom_delete")
        assert run(self.train(world), ti=ti).result == ti.pushed["audience_model_arn"]


@pytest.mark.parametrize("absent", [None, "None"], ids=["native", "text"])
@pytest.mark.parametrize(
    "cls", [cls for cls in OPERATIONS if issubclass(cls, CleanRoomsMLDeleteOperator)], ids=lambda cls: cls.__name__
)
def test_a_delete_of_what_was_never_made_says_what_to_do(empty_world: World, cls: Any, absent: Any) -> None:
    told = failure(cls(task_id="task", **dict.fromkeys(list_required(cls), absent)), InvalidRequestError)
    for argument in list_required(cls):
        assert f"{argument}: " in told
    assert "is None: if it is pulled from XCom, nothing was pushed under that key." in told
    assert "mark this task as success or skipped" in told
    assert empty_world.calls == []


def test_a_delete_with_a_bad_argument_says_nothing_of_xcom(empty_world: World) -> None:
    told = failure(CleanRoomsMLDeleteAudienceModelOperator(task_id="task", audience_model_arn="x"), InvalidRequestError)
    assert "XCom" not in told


def test_a_version_that_may_be_left_out_is_not_named(empty_world: World) -> None:
    delete = CleanRoomsMLDeleteTrainedModelOutputOperator(
        task_id="task", membership_identifier="x", trained_model_arn="None", version_identifier=None
    )
    assert "\n  trained_model_arn is None" in failure(delete, InvalidRequestError)
