"""A task creates at most one resource, however often it is tried."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Any

import pytest

from airflow_cleanroomsml import _clock, hooks
from airflow_cleanroomsml._compat import TaskDeferred
from airflow_cleanroomsml._idempotency.claim import TAG, build_retry_name, parse_retry_number
from airflow_cleanroomsml._idempotency.owned import SKEW
from airflow_cleanroomsml._idempotency.previous_tries import COMMIT_LAG
from airflow_cleanroomsml.exceptions import (
    AccessDeniedError,
    AlreadyExistsError,
    CleanRoomsMLError,
    InvalidRequestError,
    JobFailedError,
    NoQuotaError,
    OutcomeUnsettledError,
    QuotaExceededError,
    ResourceNotFoundError,
)
from airflow_cleanroomsml.operators import (
    CleanRoomsCreateConfiguredAudienceModelAssociationOperator,
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLCreateConfiguredAudienceModelOperator,
    CleanRoomsMLCreateTrainingDatasetOperator,
    CleanRoomsMLStartAudienceExportJobOperator,
)
from tests.helpers.collaboration import collaborate
from tests.support import TaskInstance, World, run

both_ways = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])


class StateStore(dict[str, Any]):
    """The methods of Airflow's task state store that tasks use."""

    rejects_writes = False

    def set(self, key: str, value: Any) -> None:
        if self.rejects_writes:
            raise ConnectionError("the API server does not answer")
        self[key] = value


class Task:
    """
    A task of one run, and its tries.

    :param cls: The operator's class.
    :param arguments: The operator's arguments.
    """

    def __init__(self, cls: Any, **arguments: Any) -> None:
        self.cls, self.arguments = cls, {"task_id": "task", "retries": TaskInstance.retries, **arguments}
        self.ti = self.last = TaskInstance()
        self.context: dict[str, Any] = {}

    def run(self, **changed: Any) -> Any:
        """Run the next try with these changes to its arguments; return its result."""
        try:
            return run(self.cls(**{**self.arguments, **changed}), ti=self.ti, **self.context).result
        finally:
            self.last, self.ti = self.ti, self.ti.make_next_try()

    def clear_and_run(self, **changed: Any) -> Any:
        """Clear the task, and run the next try; return its result."""
        self.ti = self.last.make_cleared_try()
        return self.run(**changed)


@pytest.fixture(autouse=True)
def _fast_clock(fast_clock: None) -> None:
    pass


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The durations of all pauses, in seconds. The pauses themselves take no time."""
    durations: list[float] = []
    monkeypatch.setattr(_clock, "sleep", durations.append)
    return durations


def build_model_task(dataset: str, **more: Any) -> Task:
    return Task(
        CleanRoomsMLCreateAudienceModelOperator,
        **{"name": "m", "training_dataset_arn": dataset, "waiter_delay": 1, **more},
    )


def read_statuses(world: World) -> dict[str, str]:
    return {entry["name"]: entry["status"] for entry in world.ml.list_audience_models()["audienceModels"]}


def count_creates(world: World) -> int:
    return world.calls.count("CreateAudienceModel")


@both_ways
def test_retry_reuses_resource_of_first_try(world: World, deferrable: bool) -> None:
    task = build_model_task(world.create_dataset(), deferrable=deferrable)
    first = task.run(wait_for_completion=False)
    assert task.run() == first
    assert task.run(description="does not matter", tags={"team": "other"}) == first
    assert count_creates(world) == 1


def test_retry_with_state_store_does_not_list(world: World) -> None:
    task = build_model_task(world.create_dataset())
    task.context["task_state_store"] = StateStore()
    first = task.run()
    assert task.run() == first
    assert "ListAudienceModels" not in world.calls
    assert task.context["task_state_store"]["progress"]["status"] == "ACTIVE"


@both_ways
@pytest.mark.parametrize("loses_response", [False, True], ids=["created", "lost response"])
def test_retry_searches_region_of_first_try(world: World, deferrable: bool, loses_response: bool) -> None:
    """A Variable names the region, and changes between the tries. In the other region, the retry would find nothing."""
    task = build_model_task(
        world.create_dataset(), deferrable=deferrable, region_name="us-east-1", wait_for_completion=False
    )
    task.context["task_state_store"] = StateStore()
    if loses_response:
        world.add_fault("CreateAudienceModel", "lose_response")
        world.add_fault("ListAudienceModels", "access_denied")
        with pytest.raises(AccessDeniedError):
            task.run()
    else:
        task.run()
    task.run(region_name="eu-west-1", wait_for_completion=True)
    assert count_creates(world) == 1


def test_third_try_searches_region_of_first_after_denied_second(world: World, pauses: list[float]) -> None:
    """The first try's model appears late, after the second try was denied. The third must find it."""
    task = build_model_task(world.create_dataset(), region_name="us-east-1", wait_for_completion=False)
    task.context["task_state_store"] = StateStore()
    world.add_fault("CreateAudienceModel", "late_commit", seconds=60)
    with pytest.raises(OutcomeUnsettledError):
        task.run()
    world.add_fault("CreateAudienceModel", "access_denied")
    with pytest.raises(AccessDeniedError):
        task.run(region_name="eu-west-1")
    world.emulator.advance(60)
    task.run(region_name="eu-west-1", wait_for_completion=True)
    assert len(read_statuses(world)) == 1


def test_cleared_task_uses_its_region(world: World) -> None:
    task = build_model_task(world.create_dataset(), region_name="us-east-1")
    task.context["task_state_store"] = StateStore()
    task.run()
    with pytest.raises(ResourceNotFoundError):
        task.clear_and_run(region_name="eu-west-1")
    assert count_creates(world) == 2


def test_retry_uses_its_region_if_nothing_was_created(world: World) -> None:
    task = build_model_task(world.create_dataset(), region_name="eu-west-1")
    task.context["task_state_store"] = StateStore()
    with pytest.raises(ResourceNotFoundError):
        task.run()
    task.run(region_name="us-east-1")
    assert read_statuses(world) == {"m": "ACTIVE"}


def test_state_store_keeps_arn_of_association(world: World) -> None:
    task = Task(
        CleanRoomsCreateConfiguredAudienceModelAssociationOperator,
        membership_identifier=collaborate(world).find_membership(world),
        configured_audience_model_arn=world.create_configured_model(),
        configured_audience_model_association_name="offer",
        manage_resource_policies=True,
    )
    task.context["task_state_store"] = StateStore()
    first = task.run()
    assert task.run() == first
    assert world.calls.count("CreateConfiguredAudienceModelAssociation") == 1


def test_retry_does_not_wait_if_create_was_denied(world: World, pauses: list[float]) -> None:
    task = build_model_task(world.create_dataset())
    task.context["task_state_store"] = StateStore()
    world.add_fault("CreateAudienceModel", "access_denied")
    with pytest.raises(AccessDeniedError):
        task.run(wait_for_completion=False)
    task.run(wait_for_completion=False)
    assert pauses == []


def test_retry_searches_if_store_rejected_writes(world: World, pauses: list[float]) -> None:
    task = build_model_task(world.create_dataset(), wait_for_completion=False)
    task.context["task_state_store"] = StateStore()
    task.context["task_state_store"].rejects_writes = True
    world.add_fault("CreateAudienceModel", "access_denied")
    with pytest.raises(AccessDeniedError):
        task.run()
    task.run()
    assert tuple(pauses) == COMMIT_LAG


def test_retry_searches_if_only_earlier_try_was_logged(world: World, pauses: list[float]) -> None:
    store = StateStore()
    task = build_model_task(world.create_dataset(), wait_for_completion=False)
    task.context["task_state_store"] = store
    world.add_fault("CreateAudienceModel", "access_denied", times=2)
    for rejects_writes in (False, True):
        store.rejects_writes = rejects_writes
        with pytest.raises(AccessDeniedError):
            task.run()
    assert pauses == []
    # The store has an entry for the first try only: the second may have created a model.
    task.run()
    assert tuple(pauses) == COMMIT_LAG


@pytest.mark.parametrize("lag", [0, 6], ids=["no lag", "lag"])
@pytest.mark.parametrize("store_state", ["available", "rejects writes", "absent"])
@pytest.mark.parametrize("changed", [{"training_data_start_time": "2025-01-01"}, {"name": "other"}], ids=str)
def test_retry_prefers_resource_created_since_clear(
    world: World,
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, Any],
    store_state: str,
    lag: int,
) -> None:
    """After a clear, the response to the first try is lost. The arguments of its retry equal those of a model from before the clear."""
    store = StateStore()
    task = build_model_task(world.create_dataset(), wait_for_completion=False)
    if store_state != "absent":
        task.context["task_state_store"] = store
    task.run()
    (before,) = read_statuses(world)
    store.rejects_writes = store_state == "rejects writes"
    world.add_fault("CreateAudienceModel", "late_commit", seconds=60)
    with pytest.raises(OutcomeUnsettledError):
        task.clear_and_run(**changed)
    world.emulator.advance(60)
    (since,) = read_statuses(world).keys() - {before}
    pauses.clear()
    if lag:
        for kind in ("stale_read", "stale_listing"):
            world.add_fault("*", kind, times=0, seconds=30)

        def sleep(seconds: float) -> None:
            pauses.append(seconds)
            if sum(pauses) >= lag:
                world.emulator.clear_faults(world.account)

        monkeypatch.setattr(_clock, "sleep", sleep)
    reused = world.ml.get_audience_model(audienceModelArn=task.run())
    assert reused["name"] == since
    assert count_creates(world) == 2


@pytest.mark.parametrize("has_store", [False, True], ids=["without state store", "with state store"])
def test_cleared_task_reuses_resource_without_waiting(world: World, pauses: list[float], has_store: bool) -> None:
    task = build_model_task(world.create_dataset(), wait_for_completion=False)
    if has_store:
        task.context["task_state_store"] = StateStore()
    first = task.run()
    task.run()
    listings = world.calls.count("ListAudienceModels")
    assert task.clear_and_run() == first
    assert pauses == []
    assert world.calls.count("ListAudienceModels") - listings == (0 if has_store else 1)


@pytest.mark.parametrize(("later", "expected_pauses"), [(0, COMMIT_LAG), (400, ())], ids=["at once", "settled"])
def test_retry_searches_for_logged_request_until_it_has_settled(
    world: World, pauses: list[float], monkeypatch: pytest.MonkeyPatch, later: float, expected_pauses: tuple[float, ...]
) -> None:
    task = build_model_task(world.create_dataset(), wait_for_completion=False)
    task.context["task_state_store"] = StateStore()
    world.add_fault("CreateAudienceModel", "reset")
    with pytest.raises(OutcomeUnsettledError):
        task.run()
    pauses.clear()
    monkeypatch.setattr(_clock, "now", lambda: time.time() + later)
    task.run()
    assert tuple(pauses) == expected_pauses


@pytest.mark.parametrize("later", [0, 400], ids=["at once", "settled"])
def test_logged_resource_is_read_again_while_reads_may_lag(
    world: World, monkeypatch: pytest.MonkeyPatch, later: float
) -> None:
    task = build_model_task(world.create_dataset(), wait_for_completion=False)
    task.context["task_state_store"] = StateStore()
    first = task.run()
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if sum(pauses) >= 6:
            world.emulator.clear_faults(world.account)

    monkeypatch.setattr(_clock, "sleep", sleep)
    monkeypatch.setattr(_clock, "now", lambda: time.time() + later)
    for kind in ("stale_read", "stale_listing"):
        world.add_fault("*", kind, times=0, seconds=10_000)
    with pytest.raises(AlreadyExistsError) if later else nullcontext():
        assert task.run() == first
    assert pauses == ([1.0, 5.0] if later == 0 else [])


def test_logged_resource_that_failed_is_not_reused(world: World) -> None:
    task = build_model_task(world.create_dataset())
    task.context["task_state_store"] = StateStore()
    world.add_fault("CreateAudienceModel", "fail_job")
    with pytest.raises(JobFailedError):
        task.run()
    task.run()
    assert read_statuses(world) == {"m": "CREATE_FAILED", "m-retry-2": "ACTIVE"}


def test_another_run_does_not_take_existing_resource(world: World) -> None:
    dataset = world.create_dataset()
    one = build_model_task(dataset, name="one")
    other = build_model_task(dataset, name="other")
    arn = one.run(wait_for_completion=False)
    other.ti = other.ti.make_next_try()
    with pytest.raises(
        AlreadyExistsError,
        match=f"The existing resource: .*{arn}, .*created .* by the Airflow task dag/{one.ti.run_id}/task/-1",
    ):
        other.run(name="one")
    assert read_statuses(world) == {"one": "CREATE_PENDING"} or list(read_statuses(world)) == ["one"]


def test_failed_namesake_is_not_offered_for_reuse(world: World) -> None:
    dataset = world.create_dataset()
    world.add_fault("CreateAudienceModel", "fail_job")
    with pytest.raises(JobFailedError):
        build_model_task(dataset).run()
    with pytest.raises(AlreadyExistsError, match="does not use a resource that is CREATE_FAILED") as caught:
        build_model_task(dataset).run()
    assert "to use the existing resource" not in str(caught.value)


def test_other_arguments_create_second_resource(world: World, caplog: pytest.LogCaptureFixture) -> None:
    task = build_model_task(world.create_dataset())
    first = task.run()
    with caplog.at_level("INFO", logger="airflow_cleanroomsml"):
        assert task.clear_and_run(training_data_start_time="2025-01-01") != first
    assert f"Not reusing the audience model {first}: it was created with other arguments. It is ACTIVE." in caplog.text
    assert caplog.text.count("Using the name 'm-retry-2': this task run has already used 'm'.") == 1
    assert read_statuses(world) == {"m": "ACTIVE", "m-retry-2": "ACTIVE"}
    # A clear with the original arguments reuses the first model.
    assert task.clear_and_run() == first
    assert count_creates(world) == 2


def test_superseded_resource_is_not_reused_by_name(world: World) -> None:
    task = build_model_task(world.create_dataset(), if_exists="reuse")
    first = task.run()
    assert task.clear_and_run(training_data_start_time="2025-01-01") != first
    assert count_creates(world) == 2


def test_failed_resource_is_kept_and_replaced(world: World) -> None:
    task = build_model_task(world.create_dataset())
    for _ in range(2):
        world.add_fault("CreateAudienceModel", "fail_job")
        with pytest.raises(JobFailedError):
            task.run()
    last = task.run()
    assert read_statuses(world) == {"m": "CREATE_FAILED", "m-retry-2": "CREATE_FAILED", "m-retry-3": "ACTIVE"}
    assert task.run() == last
    assert count_creates(world) == 3


def test_lost_response_is_recovered(world: World) -> None:
    world.add_fault("CreateAudienceModel", "lose_response")
    arn = build_model_task(world.create_dataset()).run()
    assert read_statuses(world) == {"m": "ACTIVE"}
    assert arn in world.ml.list_audience_models()["audienceModels"][0]["audienceModelArn"]
    assert count_creates(world) == 1


def test_try_does_not_send_again_if_outcome_is_unknown(world: World, pauses: list[float]) -> None:
    task = build_model_task(world.create_dataset())
    world.add_fault("CreateAudienceModel", "reset")
    with pytest.raises(OutcomeUnsettledError, match="(?s)outcome is unknown.*looks for the resource first"):
        task.run()
    assert (count_creates(world), sum(pauses)) == (1, 21)
    task.run(wait_for_completion=False)
    # The first request may still be committed, so the second try searches as often before it sends.
    assert (count_creates(world), sum(pauses)) == (2, 42)


def test_without_durable_retry_reuses_nothing(empty_world: World) -> None:
    data = empty_world.build_training_data()
    task = Task(
        CleanRoomsMLCreateTrainingDatasetOperator,
        name="d",
        role_arn=empty_world.role,
        training_data=data,
        durable=False,
    )
    arn = task.run()
    assert empty_world.ml.list_tags_for_resource(resourceArn=arn)["tags"] == {}
    with pytest.raises(AlreadyExistsError):
        task.run()


def test_export_is_recognised_by_job_and_size(world: World) -> None:
    task = Task(
        CleanRoomsMLStartAudienceExportJobOperator,
        name="e",
        audience_generation_job_arn=world.generate_audience(),
        audience_size={"type": "PERCENTAGE", "value": 10},
        waiter_delay=1,
    )
    first = task.run()
    assert task.run() == first
    # Another size makes it a different export, which needs an unused name.
    assert task.clear_and_run(name="other", audience_size={"type": "PERCENTAGE", "value": 20}) != first
    assert world.calls.count("StartAudienceExportJob") == 2


def build_export_task(job: str, **more: Any) -> Task:
    return Task(
        CleanRoomsMLStartAudienceExportJobOperator,
        name="e",
        audience_generation_job_arn=job,
        audience_size={"type": "PERCENTAGE", "value": 5},
        **more,
    )


def test_older_export_is_not_taken_for_lost_one(
    world: World, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.generate_audience()
    build_export_task(job, wait_for_completion=False).run()
    lead = world.emulator.read_lead()
    monkeypatch.setattr(_clock, "now", lambda: time.time() + lead + 1000)
    world.add_fault("StartAudienceExportJob", "reset")
    with pytest.raises(OutcomeUnsettledError):
        build_export_task(job).run()
    assert tuple(pauses) == COMMIT_LAG


def test_export_with_slow_response_is_waited_for(world: World, pauses: list[float]) -> None:
    job = world.generate_audience()
    world.add_fault("StartAudienceExportJob", "slow", seconds=3)
    assert build_export_task(job, waiter_delay=1).run()["name"] == "e"


@pytest.mark.parametrize("fault", ["lose_response", None], ids=["lost response", "response without time"])
def test_export_is_found_if_service_clock_is_behind(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: str | None
) -> None:
    job = world.generate_audience()
    lead = world.emulator.read_lead()
    monkeypatch.setattr(_clock, "now", lambda: time.time() + lead + SKEW - 60)
    if fault:
        world.add_fault("StartAudienceExportJob", fault)
    else:
        monkeypatch.setattr(hooks, "read_service_time", lambda _: None)
    assert build_export_task(job, waiter_delay=1).run()["name"] == "e"
    assert world.calls.count("StartAudienceExportJob") == 1


def test_first_try_does_not_take_equal_export_of_another_owner(
    world: World,
) -> None:
    job = world.generate_audience()
    world.ml.start_audience_export_job(
        name="e", audienceGenerationJobArn=job, audienceSize={"type": "PERCENTAGE", "value": 5}
    )
    with pytest.raises(AlreadyExistsError):
        build_export_task(job).run()


def test_export_with_retry_name_is_recognised(world: World) -> None:
    task = Task(
        CleanRoomsMLStartAudienceExportJobOperator,
        name="e",
        audience_generation_job_arn=world.generate_audience(),
        audience_size={"type": "PERCENTAGE", "value": 5},
        waiter_delay=1,
    )
    world.add_fault("StartAudienceExportJob", "fail_job")
    with pytest.raises(JobFailedError):
        task.run()
    second = task.run()
    assert second["name"] == build_retry_name("e", 2, 63)
    assert task.run() == second


@pytest.mark.parametrize(
    ("operation", "kind", "text"),
    [("ListAudienceModels", AccessDeniedError, "needs these permissions.*durable=False")],
)
def test_error_names_permissions(world: World, operation: str, kind: type[Exception], text: str) -> None:
    task = build_model_task(world.create_dataset())
    task.run(wait_for_completion=False)
    world.add_fault(operation, "access_denied")
    with pytest.raises(kind, match=text):
        task.run()
    world.add_fault("CreateAudienceModel", "access_denied")
    with pytest.raises(AccessDeniedError, match="If only the permission to tag is missing, set durable=False"):
        build_model_task(world.create_dataset("other")).run()
    assert count_creates(world) == 2


def test_provider_takes_one_tag(world: World) -> None:
    tags = {f"k{number}": "v" for number in range(50)}
    with pytest.raises(InvalidRequestError, match="tags: too many; a resource may have 50"):
        build_model_task(world.create_dataset(), tags=tags).run()
    arn = build_model_task(world.create_dataset("other"), tags=tags, durable=False).run(wait_for_completion=False)
    assert TAG not in world.ml.list_tags_for_resource(resourceArn=arn)["tags"]


@pytest.mark.parametrize("name", ["m", "x" * 55, "x" * 63, "m-retry-2", "m-retry-02"])
@pytest.mark.parametrize("number", [1, 2, 10, 999])
@pytest.mark.parametrize("limit", [50, 63])
def test_retry_name_fits_and_can_be_parsed(name: str, number: int, limit: int) -> None:
    retry_name = build_retry_name(name[:limit], number, limit)
    assert len(retry_name) <= limit
    assert parse_retry_number(retry_name, name[:limit], limit) == number
    assert parse_retry_number(retry_name, "other", limit) is None
    assert parse_retry_number(retry_name + " ", name[:limit], limit) is None


def test_truncated_names_are_distinct() -> None:
    one, other = "x" * 60 + "one", "x" * 60 + "two"
    assert parse_retry_number(build_retry_name(one, 2, 63), other, 63) is None


def test_worker_waits_for_quota(world: World, pauses: list[float]) -> None:
    world.add_fault("CreateAudienceModel", "quota", times=3)
    build_model_task(world.create_dataset()).run(wait_for_completion=False)
    assert count_creates(world) == 4
    assert all(20 < pause <= 300 for pause in pauses)
    assert len(pauses) == 3


def test_quota_timeout_ends_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [_clock.now()]
    monkeypatch.setattr(_clock, "now", lambda: now[0])
    monkeypatch.setattr(_clock, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    world.add_fault("CreateAudienceModel", "quota", times=1000)
    with pytest.raises(
        QuotaExceededError,
        match=r"(?s)quotaName: Quota of an injected fault.*The quota was still used up at the end of quota_timeout \(3600 s\)",
    ):
        build_model_task(world.create_dataset(), quota_timeout=3600.0).run()
    assert count_creates(world) < 25


def test_retry_searches_once_per_turn(world: World) -> None:
    world.add_fault("CreateAudienceModel", "quota")
    task = build_model_task(world.create_dataset(), deferrable=True)
    operator = task.cls(**task.arguments)
    context: Any = {"params": {}, "ti": task.ti.make_next_try()}
    with pytest.raises(TaskDeferred):
        operator.execute_in_turn(context, {"turn": True, "deadline": _clock.now() + 3600})
    assert world.calls.count("ListAudienceModels") == 1


def test_task_fails_at_once_if_waiting_does_not_help(world: World) -> None:
    world.add_fault("CreateAudienceModel", "no_quota")
    with pytest.raises(NoQuotaError, match="(?s)quotaValue: 0.*servicequotas"):
        build_model_task(world.create_dataset()).run()
    world.add_fault("CreateAudienceModel", "quota")
    with pytest.raises(QuotaExceededError):
        build_model_task(world.create_dataset("other"), quota_timeout=0).run()
    assert count_creates(world) == 2


def build_configured_model_task(world: World, audience_model: str, **more: Any) -> Task:
    return Task(
        CleanRoomsMLCreateConfiguredAudienceModelOperator,
        **{
            "name": "terms",
            "audience_model_arn": audience_model,
            "output_config": world.output,
            "shared_audience_metrics": ["ALL"],
            "if_exists": "update",
            **more,
        },
    )


def test_update_changes_what_differs(world: World) -> None:
    first, second = world.train_model("first"), world.train_model("second")
    arn = build_configured_model_task(world, first, tags={"team": "a"}, description="old").run()
    get = world.ml.get_configured_audience_model
    assert build_configured_model_task(world, first, tags={"team": "a"}, description="old").run() == arn
    assert "UpdateConfiguredAudienceModel" not in world.calls
    assert "TagResource" not in world.calls
    update = build_configured_model_task(
        world, second, tags={"team": "b"}, description="new", child_resource_tag_on_create_policy="FROM_PARENT_RESOURCE"
    )
    assert update.run() == arn
    model = get(configuredAudienceModelArn=arn)
    assert (model["audienceModelArn"], model["description"], model["tags"]["team"]) == (second, "new", "b")
    assert model.get("childResourceTagOnCreatePolicy", "NONE") == "NONE"
    assert update.run() == arn
    assert world.calls.count("UpdateConfiguredAudienceModel") == world.calls.count("TagResource") == 1
    assert world.calls.count("CreateConfiguredAudienceModel") == 1


def test_update_changes_resource_of_same_run(world: World) -> None:
    task = build_configured_model_task(world, world.train_model(), if_exists="fail")
    arn = task.run()
    assert task.clear_and_run(if_exists="update", shared_audience_metrics=["NONE"]) == arn
    assert world.calls.count("UpdateConfiguredAudienceModel") == 1


def test_model_operator_rejects_update(world: World) -> None:
    with pytest.raises(InvalidRequestError, match="if_exists: 'update' is unknown; allowed: fail, reuse"):
        build_model_task(world.create_dataset(), if_exists="update").run()


@pytest.mark.parametrize("outcome", ["created", "lost"])
def test_retry_finds_resource_of_later_turn_of_last_try(world: World, pauses: list[float], outcome: str) -> None:
    """The name renders differently in each turn, so the note of the first turn, which was refused, does not cover the second."""
    task = build_model_task(world.create_dataset(), deferrable=True, wait_for_completion=False)
    context: Any = {"params": {}, "ti": task.ti, "task_state_store": StateStore()}
    world.add_fault("CreateAudienceModel", "quota")
    with pytest.raises(TaskDeferred):
        task.cls(**{**task.arguments, "name": "first"}).execute(context)
    if outcome == "lost":
        world.add_fault("CreateAudienceModel", "lose_response")
        world.add_fault("ListAudienceModels", "access_denied")
    with nullcontext() if outcome == "created" else pytest.raises(AccessDeniedError):
        task.cls(**{**task.arguments, "name": "second"}).execute_in_turn(
            context, {"turn": True, "deadline": _clock.now() + 3600}
        )
    task.ti, task.context = task.ti.make_next_try(), {"task_state_store": context["task_state_store"]}
    task.run(name="third")
    assert list(read_statuses(world)) == ["second"]


def test_note_about_refused_request_does_not_cover_next_request(world: World, pauses: list[float]) -> None:
    """The state store fails between two requests of one try; a retry must not apply its note about the first to the second."""
    store = StateStore()
    task = build_model_task(world.create_dataset(), wait_for_completion=False)
    task.context["task_state_store"] = store
    world.add_fault("CreateAudienceModel", "quota")

    def fail_store(seconds: float) -> None:
        if not store.rejects_writes:
            world.add_fault("CreateAudienceModel", "late_commit", seconds=60)
        store.rejects_writes = True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_clock, "sleep", fail_store)
        with pytest.raises(CleanRoomsMLError):
            task.run(name="first")
    store.rejects_writes = False
    world.emulator.advance(60)
    task.run(name="second")
    assert len(read_statuses(world)) == 1


def test_retry_after_final_refusal_does_not_search(world: World, pauses: list[float]) -> None:
    task = build_model_task(world.create_dataset(), wait_for_completion=False, quota_timeout=0)
    task.context["task_state_store"] = StateStore()
    world.add_fault("CreateAudienceModel", "quota")
    with pytest.raises(QuotaExceededError):
        task.run()
    task.run()
    assert pauses == []


def test_note_from_before_clear_costs_no_further_listings(world: World, pauses: list[float]) -> None:
    """The first try after the clear fails before it writes a note; its retry searches as it would without a state store."""
    listings = []
    for name, store in {"without": {}, "with": {"task_state_store": StateStore()}}.items():
        task = build_model_task(world.create_dataset(name), name=name, wait_for_completion=False)
        task.context.update(store)
        first = task.run()
        with pytest.raises(InvalidRequestError):
            task.clear_and_run(training_dataset_arn="")
        before = world.calls.count("ListAudienceModels")
        assert task.run() == first
        listings.append(world.calls.count("ListAudienceModels") - before)
    assert listings[0] == listings[1]
