"""A retry goes on with what an earlier try has made, though its arguments render to something else; a cleared task may ask for more."""

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
#: What Airflow gives templates under this name; an hour passes whenever one asks for the time.
MACROS = SimpleNamespace(datetime=SimpleNamespace(now=lambda: next(_hours)), uuid=uuid)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, in no time."""
    made: list[float] = []
    monkeypatch.setattr(_clock, "sleep", made.append)
    return made


class StateStore(dict[str, Any]):
    """Airflow's task state store, as far as tasks see it."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))


class Task:
    """
    A task in a run, and its tries.

    :param cls: Its operator.
    :param given: The operator's arguments, as its Dag has them.
    """

    def __init__(self, cls: Any, **given: Any) -> None:
        self.cls, self.given = cls, {"task_id": "task", "retries": TaskInstance.retries, **given}
        self.ti = TaskInstance()
        self.context: dict[str, Any] = {"macros": MACROS}
        self.pushed: dict[str, Any] = {}

    def remembers(self, it_does: bool) -> None:
        """Whether Airflow keeps its state between two tries."""
        if it_does:
            self.context["task_state_store"] = StateStore()

    def tries(self, **changed: Any) -> Any:
        """The result of a try."""
        self.given.update(changed)
        done = run(self.cls(**self.given), ti=self.ti, **self.context)
        self.pushed = done.pushed
        return done.result

    def is_retried(self, **changed: Any) -> Any:
        """The result of an automatic retry."""
        self.ti = self.ti.make_next_try()
        return self.tries(**changed)

    def is_cleared(self, **changed: Any) -> Any:
        """The result of the try after somebody has cleared the task."""
        self.ti = self.ti.make_cleared_try()
        return self.tries(**changed)

    def breaks_off(self, world: World, read: str) -> None:
        """Try once; a read of what was made is denied, in the worker or in the triggerer."""
        operator = self.cls(**self.given)
        context: Any = {"params": {}, **self.context, "ti": self.ti}
        operator.render_template_fields(context)
        if not self.given.get("deferrable"):
            world.add_fault(read, "access_denied")

        def step() -> None:
            try:
                operator.execute(context)
            except TaskDeferred as deferred:
                world.add_fault(read, "access_denied")
                resume(operator, deferred, context)

        with pytest.raises(CleanRoomsMLError, match="A retry continues the wait"):
            step()


def names(world: World) -> list[str]:
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
def test_a_template_that_is_not_stable_makes_one(
    slow_world: World, argument: str, template: str, deferrable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    task = Task(
        CleanRoomsMLCreateAudienceModelOperator,
        **{"name": "weekly", "training_dataset_arn": slow_world.create_dataset(), argument: template},
        deferrable=deferrable,
    )
    task.breaks_off(slow_world, "GetAudienceModel")
    with caplog.at_level(logging.WARNING):
        result = task.is_retried(wait_for_completion=False)
    (made,) = slow_world.ml.list_audience_models()["audienceModels"]
    assert result == made["audienceModelArn"]
    assert argument in caplog.text


@dataclass(frozen=True)
class Kind:
    """
    Something with tags, and arguments of it that render differently in a retry.

    :param title: The operation.
    :param then: Arguments of the retry.
    :param first: Arguments of the first try beside those that it needs.
    """

    title: str
    then: Callable[[World], dict[str, Any]]
    first: dict[str, Any] = field(default_factory=dict)


def output(world: World) -> dict[str, Any]:
    return {**world.output, "destination": {"s3Destination": {"s3Uri": f"s3://{world.bucket}/other"}}}


KINDS = {
    "dataset": Kind("create_training_dataset", lambda world: {"role_arn": f"{world.role}-other"}),
    "model": Kind("create_audience_model", lambda _: {"training_data_end_time": "2026-11-24"}),
    "model of another dataset": Kind(
        "create_audience_model", lambda world: {"training_dataset_arn": world.create_dataset("another")}
    ),
    "configured model": Kind("create_configured_audience_model", lambda world: {"output_config": output(world)}),
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
def test_a_retry_goes_on_with_what_renders_differently(
    empty_world: World, kind: Kind, renamed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    maker = BY_TITLE[kind.title]
    prepared = maker.prepare(empty_world)
    prepared.pop("task_id", None)
    before = len(list(maker.list_resources(empty_world, prepared)))
    waits = {"wait_for_completion": False} if maker.waits else {}
    task = Task(maker.operator, **{**prepared, **kind.first, **waits, maker.name_argument: "made"})
    first = task.tries()
    changed = kind.then(empty_world)
    with caplog.at_level(logging.WARNING):
        assert task.is_retried(**changed, **({maker.name_argument: "another"} if renamed else {})) == first
    assert len(list(maker.list_resources(empty_world, prepared))) == before + 1
    warned = [record.getMessage() for record in caplog.records if "This retry reuses" in record.getMessage()]
    assert all(name in warned[0] for name in (*changed, *([maker.name_argument] if renamed else ())))
    assert not any(text in caplog.text for text in ("the-value-of-a-secret", "SECRET"))


def dataset(world: World, **more: Any) -> Task:
    """A task that creates a training dataset."""
    arguments = {"name": "d", "role_arn": world.role, "training_data": world.build_training_data()}
    return Task(CleanRoomsMLCreateTrainingDatasetOperator, **{**arguments, **more})


def other(number: int) -> dict[str, Any]:
    """Other arguments than those that it usually has."""
    source = {"glueDataSource": {"databaseName": "lookalike", "tableName": f"interactions_{number}"}}
    return {"training_data": [{"type": "INTERACTIONS", "inputConfig": {"schema": SCHEMA, "dataSource": source}}]}


def test_a_cleared_task_with_other_arguments_makes_another(
    empty_world: World, caplog: pytest.LogCaptureFixture
) -> None:
    task = dataset(empty_world)
    first = task.tries()
    second = task.is_cleared(**other(0))
    assert second != first
    # Its retries go on with the new one.
    assert task.is_retried(**other(1)) == second
    # It has another name than is asked for, but one that the task itself has given it.
    assert "other values: training_data. " in caplog.text
    assert task.is_retried(name="another") == second
    assert "other values: name, training_data. " in caplog.text
    assert names(empty_world) == ["d", "d-retry-2"]


def test_a_retry_after_a_clear_makes_what_its_first_try_could_not(empty_world: World) -> None:
    task = dataset(empty_world)
    first = task.tries()
    empty_world.add_fault("CreateTrainingDataset", "access_denied")
    with pytest.raises(AccessDeniedError):
        task.is_cleared(**other(0))
    second = task.is_retried(**other(1))
    assert second != first
    assert task.is_retried() == second


@pytest.mark.parametrize("remembers", [False, True], ids=["without a state store", "with one"])
def test_what_a_cleared_task_has_gone_on_with_is_that_of_its_retries(empty_world: World, remembers: bool) -> None:
    task = dataset(empty_world)
    task.remembers(remembers)
    first = task.tries()
    assert task.is_cleared() == first
    assert task.is_retried(**other(0)) == first
    # Nor does it matter what an earlier try would have asked for.
    second = task.is_cleared(**other(1))
    assert second != first
    original = {"training_data": empty_world.build_training_data()}
    assert task.is_retried(**original) == second
    assert task.is_cleared(**original) == first
    assert task.is_retried(**other(1)) == first


@pytest.mark.parametrize("remembers", [False, True], ids=["without a state store", "with one"])
def test_what_a_retry_has_gone_on_with_is_not_what_a_cleared_task_asks_for(empty_world: World, remembers: bool) -> None:
    task = dataset(empty_world)
    task.remembers(remembers)
    first = task.tries()
    assert task.is_retried(**other(0)) == first
    assert task.is_cleared() != first


def test_a_tag_that_cannot_be_changed_hinders_nobody(empty_world: World, caplog: pytest.LogCaptureFixture) -> None:
    task = dataset(empty_world)
    first = task.tries()
    empty_world.add_fault("TagResource", "access_denied", times=0)
    assert task.is_cleared() == first
    assert "Could not update the tag of" in caplog.text


@pytest.mark.parametrize("remembers", [False, True], ids=["without a state store", "with one"])
@pytest.mark.parametrize("changed", [{}, {"name": "another"}], ids=["same name", "another name"])
def test_what_has_failed_is_not_gone_on_with(world: World, changed: dict[str, Any], remembers: bool) -> None:
    task = Task(
        CleanRoomsMLCreateAudienceModelOperator,
        name="m",
        training_dataset_arn=world.create_dataset(),
        wait_for_completion=False,
    )
    task.remembers(remembers)
    world.add_fault("CreateAudienceModel", "fail_job")
    first = task.tries()
    assert world.wait(first)["status"] == "CREATE_FAILED"
    assert task.is_retried(training_data_end_time="2026-11-24", **changed) != first
    made = world.ml.list_audience_models()["audienceModels"]
    assert sorted(entry["name"] for entry in made) == sorted(["m", changed.get("name", "m-retry-2")])


def test_a_task_that_is_cleared_while_it_runs_may_look_like_a_retry(empty_world: World) -> None:
    task = dataset(empty_world)
    task.ti.retries = task.ti.max_tries = 1
    first = task.tries()
    # RESTARTING leaves max_tries as it is.
    assert task.is_retried(**other(0)) == first
    # But Airflow would not have retried it by itself.
    second = task.is_retried(**other(1))
    assert second != first
    third = task.is_retried(**other(2))
    assert third not in (first, second)
    assert task.is_cleared(**other(2)) == third


def test_retries_that_are_edited_between_two_tries_do_not_matter(empty_world: World) -> None:
    task = dataset(empty_world, retries=5)
    first = task.tries()
    assert task.is_retried(retries=3, **other(0)) == first
    assert task.is_retried(retries=9, **other(1)) == first


def test_a_tag_of_before_there_were_sequences_is_read(empty_world: World) -> None:
    task = dataset(empty_world)
    first = task.tries()
    value = empty_world.ml.list_tags_for_resource(resourceArn=first)["tags"][TAG]
    assert value.endswith(":5")
    empty_world.ml.tag_resource(resourceArn=first, tags={TAG: value.removesuffix(":5")})
    assert task.is_retried() == first
    assert empty_world.ml.list_tags_for_resource(resourceArn=first)["tags"][TAG] == value
    empty_world.ml.tag_resource(resourceArn=first, tags={TAG: value.removesuffix(":5")})
    assert task.is_cleared(**other(0)) != first


def test_only_what_is_new_enough_is_read(empty_world: World) -> None:
    dataset(empty_world, name="other").tries()
    task = dataset(empty_world, name="unstable-{{ ti.try_number }}")
    empty_world.add_fault("CreateTrainingDataset", "access_denied")
    with pytest.raises(AccessDeniedError):
        task.tries()
    # The run began an hour after that was made.
    task.context["dag_run"] = SimpleNamespace(start_date=datetime.now(timezone.utc) + timedelta(hours=1))
    before = empty_world.calls.count("GetTrainingDataset")
    task.is_retried()
    assert empty_world.calls.count("GetTrainingDataset") == before


def test_a_run_that_was_cleared_has_begun_before(empty_world: World) -> None:
    task = dataset(empty_world)
    first = task.tries()
    # Airflow gives such a run another start date.
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    task.context["dag_run"] = SimpleNamespace(start_date=later, clear_number=1)
    assert task.is_cleared() == first
    assert task.is_retried(name="another") == first


def test_no_more_than_some_are_read(
    empty_world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(owned, "MAX_READS", 1)
    task = dataset(empty_world)
    empty_world.add_fault("CreateTrainingDataset", "access_denied")
    with pytest.raises(AccessDeniedError):
        task.tries()
    for number in range(2):
        empty_world.create_dataset(f"other-{number}")
    task.is_retried()
    assert empty_world.calls.count("GetTrainingDataset") == 1
    assert "only the tags of the newest 1 are read" in caplog.text


def test_nothing_is_read_after_a_note_that_nothing_was_made(empty_world: World) -> None:
    task = dataset(empty_world)
    task.remembers(True)
    empty_world.create_dataset("other")
    empty_world.add_fault("CreateTrainingDataset", "access_denied")
    with pytest.raises(AccessDeniedError):
        task.tries()
    task.is_retried(**other(0))
    assert "GetTrainingDataset" not in empty_world.calls


@pytest.mark.parametrize("fault", ["", "lose_response"], ids=["noted", "lost"])
def test_an_export_that_has_another_name_is_remembered(world: World, fault: str) -> None:
    job = world.generate_audience()
    size = {"type": "PERCENTAGE", "value": "{{ [5, 10, 20][ti.try_number - 1] }}"}
    task = Task(
        CleanRoomsMLStartAudienceExportJobOperator,
        name="export-{{ ti.try_number }}",
        audience_generation_job_arn=job,
        audience_size=size,
        wait_for_completion=False,
    )
    task.remembers(True)
    if fault:
        world.add_fault("StartAudienceExportJob", fault)
        world.add_fault("ListAudienceExportJobs", "access_denied")
        with pytest.raises(AccessDeniedError):
            task.tries()
    else:
        task.tries()
    assert task.is_retried()["name"] == "export-1"
    assert task.is_retried()["name"] == "export-1"
    assert len(world.ml.list_audience_export_jobs(audienceGenerationJobArn=job)["audienceExportJobs"]) == 1
    assert task.is_cleared(audience_size={"type": "PERCENTAGE", "value": 10})["name"] == "export-4"


def test_an_older_export_of_others_is_not_the_one_that_is_remembered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    task.remembers(True)
    world.add_fault("StartAudienceExportJob", "reset")
    with pytest.raises(OutcomeUnsettledError):
        task.tries()
    assert task.is_retried()["name"] == "export-2"


def test_an_export_that_nothing_remembers_is_named_before_another_is_made(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    task = Task(
        CleanRoomsMLStartAudienceExportJobOperator,
        name="export-{{ ti.try_number }}",
        audience_generation_job_arn=world.generate_audience(),
        audience_size={"type": "PERCENTAGE", "value": 5},
        wait_for_completion=False,
    )
    task.tries()
    assert task.is_retried()["name"] == "export-2"
    assert "because they have no tags: 'export-1'" in caplog.text


def test_an_association_that_has_another_name_is_remembered(world: World) -> None:
    task = Task(
        CleanRoomsCreateConfiguredAudienceModelAssociationOperator,
        membership_identifier=collaborate(world).find_membership(world),
        configured_audience_model_arn=world.create_configured_model(),
        configured_audience_model_association_name="offer-{{ ti.try_number }}",
        manage_resource_policies=True,
    )
    task.remembers(True)
    world.add_fault("CreateConfiguredAudienceModelAssociation", "lose_response")
    world.add_fault("ListConfiguredAudienceModelAssociations", "access_denied")
    with pytest.raises(AccessDeniedError):
        task.tries()
    first = task.is_retried()
    assert task.is_retried() == first
    assert world.calls.count("CreateConfiguredAudienceModelAssociation") == 1


def test_a_retry_changes_what_it_goes_on_with_where_that_is_wanted(world: World) -> None:
    task = Task(
        CleanRoomsMLCreateConfiguredAudienceModelOperator,
        name="terms-{{ ti.try_number }}",
        audience_model_arn=world.train_model(),
        output_config=world.output,
        shared_audience_metrics=["ALL"],
        if_exists="update",
    )
    arn = task.tries()
    assert task.is_retried(shared_audience_metrics=["NONE"]) == arn
    found = world.ml.get_configured_audience_model(configuredAudienceModelArn=arn)
    assert (found["name"], found["sharedAudienceMetrics"]) == ("terms-1", ["NONE"])
    assert world.calls.count("CreateConfiguredAudienceModel") == 1


@versioned
@pytest.mark.parametrize("remembers", [False, True], ids=["without a state store", "with one"])
@pytest.mark.parametrize(
    "changed", [{"hyperparameters": {"depth": "2"}}, {"name": "another", "hyperparameters": {"depth": "2"}}]
)
def test_a_further_version_is_gone_on_with(studio: Studio, changed: dict[str, Any], remembers: bool) -> None:
    channel = {"trainedModelArn": studio.model, "channelName": "before", "versionIdentifier": "NULL"}
    task = Task(
        CleanRoomsMLCreateTrainedModelOperator, **studio.build_training(incremental_training_data_channels=[channel])
    )
    task.remembers(remembers)
    task.tries()
    version = task.pushed["version_identifier"]
    task.is_retried(**changed)
    assert task.pushed["version_identifier"] == version
    assert studio.world.calls.count("CreateTrainedModel") == 2
    task.is_cleared(hyperparameters={"depth": "3"})
    assert task.pushed["version_identifier"] != version


@versioned
def test_a_further_version_of_another_model_is_gone_on_with(studio: Studio) -> None:
    def channel(arn: str) -> list[dict[str, str]]:
        return [{"trainedModelArn": arn, "channelName": "before", "versionIdentifier": "NULL"}]

    other = run(CleanRoomsMLCreateTrainedModelOperator(**studio.build_training("other"))).result
    task = Task(CleanRoomsMLCreateTrainedModelOperator, **studio.build_training("next"))
    first = task.tries(incremental_training_data_channels=channel(studio.model))
    version = task.pushed["version_identifier"]
    assert task.is_retried(incremental_training_data_channels=channel(other)) == first
    assert task.pushed["version_identifier"] == version
    # Nor does it matter if it is no further version any more.
    assert task.is_retried(incremental_training_data_channels=None, name="another") == first
    assert task.pushed["version_identifier"] == version


@versioned
def test_the_base_version_is_not_taken_for_a_further_one(studio: Studio) -> None:
    channel = {"trainedModelArn": studio.model, "channelName": "before", "versionIdentifier": "NULL"}
    task = Task(
        CleanRoomsMLCreateTrainedModelOperator, **studio.build_training(incremental_training_data_channels=[channel])
    )
    studio.world.emulator.advance(3600)
    task.tries()
    version = task.pushed["version_identifier"]
    # The base version has the tags of the further one, which this listing does not show yet.
    studio.world.add_fault("ListTrainedModelVersions", "stale_listing", seconds=1800)
    task.is_retried(hyperparameters={"depth": "2"})
    assert studio.world.emulator.list_faults(studio.world.account) == []
    assert task.pushed["version_identifier"] == version
    assert studio.world.calls.count("CreateTrainedModel") == 2


def test_what_an_interrupted_retry_has_not_yet_found_is_found_when_its_task_ends(empty_world: World) -> None:
    task = dataset(empty_world)
    first = task.tries()
    task.ti = task.ti.make_next_try()
    operator = task.cls(**{**task.given, "name": "another", **other(0)})
    store = StateStore()
    create_once = operator._build_create_once({"params": {}, "ti": task.ti, "task_state_store": store})
    assert create_once.find_created().identifiers == {"training_dataset_arn": first}
    # A process that ends speaks to its supervisor no more.
    assert store == {}


def test_what_an_earlier_try_has_made_is_found_when_the_task_ends_and_nothing_else(empty_world: World) -> None:
    task = dataset(empty_world)
    task.tries()
    task.ti = task.ti.make_cleared_try()
    operator = task.cls(**{**task.given, **other(0)})
    assert operator._build_create_once({"params": {}, "ti": task.ti}).find_created() is None


def test_a_first_try_that_has_sent_nothing_has_made_nothing(world: World) -> None:
    given: dict[str, Any] = {
        "name": "e",
        "audience_generation_job_arn": world.generate_audience(),
        "audience_size": {"type": "PERCENTAGE", "value": 5},
    }
    run(CleanRoomsMLStartAudienceExportJobOperator(task_id="other", wait_for_completion=False, **given))
    operator = CleanRoomsMLStartAudienceExportJobOperator(task_id="task", **given)
    context: Any = {"params": {}, "ti": TaskInstance()}
    assert operator._build_create_once(context).find_created() is None
