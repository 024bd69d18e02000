"""A task makes at most one of what it asks for, however often it is tried."""

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
    """Airflow's task state store, as far as tasks see it."""

    refuses = False

    def set(self, key: str, value: Any) -> None:
        if self.refuses:
            raise ConnectionError("the API server does not answer")
        self[key] = value


class Task:
    """
    A task of one run, tried as often as a test says.

    :param cls: Its operator.
    :param given: The operator's arguments.
    """

    def __init__(self, cls: Any, **given: Any) -> None:
        self.cls, self.given = cls, {"task_id": "task", "retries": TaskInstance.retries, **given}
        self.ti = self.last = TaskInstance()
        self.context: dict[str, Any] = {}

    def run(self, **changed: Any) -> Any:
        """The result of the next try."""
        try:
            return run(self.cls(**{**self.given, **changed}), ti=self.ti, **self.context).result
        finally:
            self.last, self.ti = self.ti, self.ti.make_next_try()

    def is_cleared(self, **changed: Any) -> Any:
        """The result of the next try, after somebody has cleared the task."""
        self.ti = self.last.make_cleared_try()
        return self.run(**changed)


@pytest.fixture(autouse=True)
def _fast_clock(fast_clock: None) -> None:
    pass


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, in no time."""
    made: list[float] = []
    monkeypatch.setattr(_clock, "sleep", made.append)
    return made


def model(dataset: str, **more: Any) -> Task:
    return Task(
        CleanRoomsMLCreateAudienceModelOperator,
        **{"name": "m", "training_dataset_arn": dataset, "waiter_delay": 1, **more},
    )


def models(world: World) -> dict[str, str]:
    return {entry["name"]: entry["status"] for entry in world.ml.list_audience_models()["audienceModels"]}


def creates(world: World) -> int:
    return world.calls.count("CreateAudienceModel")


@both_ways
def test_a_retry_goes_on_with_what_the_first_try_has_made(world: World, deferrable: bool) -> None:
    task = model(world.create_dataset(), deferrable=deferrable)
    first = task.run(wait_for_completion=False)
    assert task.run() == first
    assert task.run(description="does not matter", tags={"nor": "this"}) == first
    assert creates(world) == 1


def test_what_is_remembered_is_not_looked_for(world: World) -> None:
    task = model(world.create_dataset())
    task.context["task_state_store"] = StateStore()
    first = task.run()
    assert task.run() == first
    assert "ListAudienceModels" not in world.calls
    assert task.context["task_state_store"]["progress"]["status"] == "ACTIVE"


@both_ways
@pytest.mark.parametrize("outcome", ["made", "lost"])
def test_a_retry_looks_where_the_first_try_has_sent(world: World, deferrable: bool, outcome: str) -> None:
    """A Variable names the region, and changes between the tries: in the other region nothing would be found."""
    task = model(world.create_dataset(), deferrable=deferrable, region_name="us-east-1", wait_for_completion=False)
    task.context["task_state_store"] = StateStore()
    if outcome == "lost":
        world.add_fault("CreateAudienceModel", "lose_response")
        world.add_fault("ListAudienceModels", "access_denied")
        with pytest.raises(AccessDeniedError):
            task.run()
    else:
        task.run()
    task.run(region_name="eu-west-1", wait_for_completion=True)
    assert creates(world) == 1


def test_a_refused_retry_does_not_forget_where_the_first_try_has_sent(world: World, pauses: list[float]) -> None:
    """The first try's model appears late, after a second try that was refused; the third one must find it."""
    task = model(world.create_dataset(), region_name="us-east-1", wait_for_completion=False)
    task.context["task_state_store"] = StateStore()
    world.add_fault("CreateAudienceModel", "late_commit", seconds=60)
    with pytest.raises(OutcomeUnsettledError):
        task.run()
    world.add_fault("CreateAudienceModel", "access_denied")
    with pytest.raises(AccessDeniedError):
        task.run(region_name="eu-west-1")
    world.emulator.advance(60)
    task.run(region_name="eu-west-1", wait_for_completion=True)
    assert len(models(world)) == 1


def test_a_task_that_is_cleared_goes_where_it_is_told(world: World) -> None:
    task = model(world.create_dataset(), region_name="us-east-1")
    task.context["task_state_store"] = StateStore()
    task.run()
    with pytest.raises(ResourceNotFoundError):
        task.is_cleared(region_name="eu-west-1")
    assert creates(world) == 2


def test_a_retry_goes_where_it_is_told_if_nothing_was_made(world: World) -> None:
    task = model(world.create_dataset(), region_name="eu-west-1")
    task.context["task_state_store"] = StateStore()
    with pytest.raises(ResourceNotFoundError):
        task.run()
    task.run(region_name="us-east-1")
    assert models(world) == {"m": "ACTIVE"}


def test_an_association_is_remembered_with_its_arn(world: World) -> None:
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


def test_nothing_is_looked_for_where_nothing_was_sent(world: World, pauses: list[float]) -> None:
    task = model(world.create_dataset())
    task.context["task_state_store"] = StateStore()
    world.add_fault("CreateAudienceModel", "access_denied")
    with pytest.raises(AccessDeniedError):
        task.run(wait_for_completion=False)
    task.run(wait_for_completion=False)
    assert pauses == []


def test_a_store_that_took_no_note_leaves_a_retry_in_doubt(world: World, pauses: list[float]) -> None:
    task = model(world.create_dataset(), wait_for_completion=False)
    task.context["task_state_store"] = StateStore()
    task.context["task_state_store"].refuses = True
    world.add_fault("CreateAudienceModel", "access_denied")
    with pytest.raises(AccessDeniedError):
        task.run()
    task.run()
    assert tuple(pauses) == COMMIT_LAG


def test_a_note_of_a_try_before_the_last_one_leaves_a_retry_in_doubt(world: World, pauses: list[float]) -> None:
    store = StateStore()
    task = model(world.create_dataset(), wait_for_completion=False)
    task.context["task_state_store"] = store
    world.add_fault("CreateAudienceModel", "access_denied", times=2)
    for refuses in (False, True):
        store.refuses = refuses
        with pytest.raises(AccessDeniedError):
            task.run()
    assert pauses == []
    # The store knows of the first try only: the second may have made one.
    task.run()
    assert tuple(pauses) == COMMIT_LAG


@pytest.mark.parametrize("lag", [0, 6], ids=["listed at once", "listed late"])
@pytest.mark.parametrize("notes", ["taken", "refused", "impossible"])
@pytest.mark.parametrize("changed", [{"training_data_start_time": "2025-01-01"}, {"name": "other"}], ids=str)
def test_a_retry_prefers_what_was_made_since_the_clear(
    world: World,
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, Any],
    notes: str,
    lag: int,
) -> None:
    """After a clear, the response to the first try is lost; the arguments of its retry equal a model from before the clear."""
    store = StateStore()
    task = model(world.create_dataset(), wait_for_completion=False)
    if notes != "impossible":
        task.context["task_state_store"] = store
    task.run()
    (before,) = models(world)
    store.refuses = notes == "refused"
    world.add_fault("CreateAudienceModel", "late_commit", seconds=60)
    with pytest.raises(OutcomeUnsettledError):
        task.is_cleared(**changed)
    world.emulator.advance(60)
    (since,) = models(world).keys() - {before}
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
    assert creates(world) == 2


@pytest.mark.parametrize("remembers", [False, True], ids=["without a state store", "with one"])
def test_a_cleared_task_reuses_what_was_made_before_without_waiting(
    world: World, pauses: list[float], remembers: bool
) -> None:
    task = model(world.create_dataset(), wait_for_completion=False)
    if remembers:
        task.context["task_state_store"] = StateStore()
    first = task.run()
    task.run()
    listings = world.calls.count("ListAudienceModels")
    assert task.is_cleared() == first
    assert pauses == []
    assert world.calls.count("ListAudienceModels") - listings == (0 if remembers else 1)


@pytest.mark.parametrize(("later", "looks"), [(0, COMMIT_LAG), (400, ())], ids=["at once", "after it has settled"])
def test_a_request_whose_outcome_was_noted_as_unknown_is_looked_for_until_it_has_settled(
    world: World, pauses: list[float], monkeypatch: pytest.MonkeyPatch, later: float, looks: tuple[float, ...]
) -> None:
    task = model(world.create_dataset(), wait_for_completion=False)
    task.context["task_state_store"] = StateStore()
    world.add_fault("CreateAudienceModel", "reset")
    with pytest.raises(OutcomeUnsettledError):
        task.run()
    pauses.clear()
    monkeypatch.setattr(_clock, "now", lambda: time.time() + later)
    task.run()
    assert tuple(pauses) == looks


@pytest.mark.parametrize("later", [0, 400], ids=["at once", "after it has settled"])
def test_what_is_remembered_is_read_again_while_reads_may_lag(
    world: World, monkeypatch: pytest.MonkeyPatch, later: float
) -> None:
    task = model(world.create_dataset(), wait_for_completion=False)
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


def test_what_is_remembered_and_has_failed_is_not_gone_on_with(world: World) -> None:
    task = model(world.create_dataset())
    task.context["task_state_store"] = StateStore()
    world.add_fault("CreateAudienceModel", "fail_job")
    with pytest.raises(JobFailedError):
        task.run()
    task.run()
    assert models(world) == {"m": "CREATE_FAILED", "m-retry-2": "ACTIVE"}


def test_another_run_and_another_mapped_task_make_their_own(world: World) -> None:
    dataset = world.create_dataset()
    one = model(dataset, name="one")
    other = model(dataset, name="other")
    arn = one.run(wait_for_completion=False)
    other.ti = other.ti.make_next_try()
    with pytest.raises(
        AlreadyExistsError,
        match=f"The existing resource: .*{arn}, .*created .* by the Airflow task dag/{one.ti.run_id}/task/-1",
    ):
        other.run(name="one")
    assert models(world) == {"one": "CREATE_PENDING"} or list(models(world)) == ["one"]


def test_one_with_other_arguments_is_left_alone(world: World) -> None:
    task = model(world.create_dataset())
    first = task.run()
    assert task.is_cleared(training_data_start_time="2025-01-01") != first
    assert models(world) == {"m": "ACTIVE", "m-retry-2": "ACTIVE"}
    # What was asked for first is still there for who asks for it again.
    assert task.is_cleared() == first
    assert creates(world) == 2


def test_what_this_run_has_made_by_other_arguments_is_not_reused(world: World) -> None:
    task = model(world.create_dataset(), if_exists="reuse")
    first = task.run()
    assert task.is_cleared(training_data_start_time="2025-01-01") != first
    assert creates(world) == 2


def test_a_failed_one_is_kept_and_another_is_made(world: World) -> None:
    task = model(world.create_dataset())
    for _ in range(2):
        world.add_fault("CreateAudienceModel", "fail_job")
        with pytest.raises(JobFailedError):
            task.run()
    last = task.run()
    assert models(world) == {"m": "CREATE_FAILED", "m-retry-2": "CREATE_FAILED", "m-retry-3": "ACTIVE"}
    assert task.run() == last
    assert creates(world) == 3


def test_a_lost_answer_is_looked_for(world: World) -> None:
    world.add_fault("CreateAudienceModel", "lose_response")
    arn = model(world.create_dataset()).run()
    assert models(world) == {"m": "ACTIVE"}
    assert arn in world.ml.list_audience_models()["audienceModels"][0]["audienceModelArn"]
    assert creates(world) == 1


def test_what_does_not_show_is_not_sent_again_by_the_same_try(world: World, pauses: list[float]) -> None:
    task = model(world.create_dataset())
    world.add_fault("CreateAudienceModel", "reset")
    with pytest.raises(OutcomeUnsettledError, match="(?s)outcome is unknown.*looks for the resource first"):
        task.run()
    assert (creates(world), sum(pauses)) == (1, 21)
    task.run(wait_for_completion=False)
    # As the first try may have been carried out late, the second looks as often before it sends.
    assert (creates(world), sum(pauses)) == (2, 42)


def test_without_durability_every_try_makes_its_own(empty_world: World) -> None:
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


def test_an_export_is_told_by_what_identifies_it(world: World) -> None:
    task = Task(
        CleanRoomsMLStartAudienceExportJobOperator,
        name="e",
        audience_generation_job_arn=world.generate_audience(),
        audience_size={"type": "PERCENTAGE", "value": 10},
        waiter_delay=1,
    )
    first = task.run()
    assert task.run() == first
    # Of another size it is another one, whose name is free.
    assert task.is_cleared(name="other", audience_size={"type": "PERCENTAGE", "value": 20}) != first
    assert world.calls.count("StartAudienceExportJob") == 2


def export(job: str, **more: Any) -> Task:
    return Task(
        CleanRoomsMLStartAudienceExportJobOperator,
        name="e",
        audience_generation_job_arn=job,
        audience_size={"type": "PERCENTAGE", "value": 5},
        **more,
    )


def test_an_older_export_is_not_taken_for_one_whose_answer_was_lost(
    world: World, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.generate_audience()
    export(job, wait_for_completion=False).run()
    lead = world.emulator.read_lead()
    monkeypatch.setattr(_clock, "now", lambda: time.time() + lead + 1000)
    world.add_fault("StartAudienceExportJob", "reset")
    with pytest.raises(OutcomeUnsettledError):
        export(job).run()
    assert tuple(pauses) == COMMIT_LAG


def test_an_export_whose_answer_took_long_is_waited_for(world: World, pauses: list[float]) -> None:
    job = world.generate_audience()
    world.add_fault("StartAudienceExportJob", "slow", seconds=3)
    assert export(job, waiter_delay=1).run()["name"] == "e"


@pytest.mark.parametrize("fault", ["lose_response", None], ids=["the answer is lost", "the answer has no time"])
def test_an_export_is_found_although_the_services_clock_is_behind(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: str | None
) -> None:
    job = world.generate_audience()
    lead = world.emulator.read_lead()
    monkeypatch.setattr(_clock, "now", lambda: time.time() + lead + SKEW - 60)
    if fault:
        world.add_fault("StartAudienceExportJob", fault)
    else:
        monkeypatch.setattr(hooks, "read_service_time", lambda _: None)
    assert export(job, waiter_delay=1).run()["name"] == "e"
    assert world.calls.count("StartAudienceExportJob") == 1


def test_an_export_of_the_same_name_that_somebody_else_has_just_started_is_not_taken_by_a_first_try(
    world: World,
) -> None:
    job = world.generate_audience()
    world.ml.start_audience_export_job(
        name="e", audienceGenerationJobArn=job, audienceSize={"type": "PERCENTAGE", "value": 5}
    )
    with pytest.raises(AlreadyExistsError):
        export(job).run()


def test_an_export_under_a_name_of_its_own_is_told(world: World) -> None:
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
def test_missing_permissions_are_told(world: World, operation: str, kind: type[Exception], text: str) -> None:
    task = model(world.create_dataset())
    task.run(wait_for_completion=False)
    world.add_fault(operation, "access_denied")
    with pytest.raises(kind, match=text):
        task.run()
    world.add_fault("CreateAudienceModel", "access_denied")
    with pytest.raises(AccessDeniedError, match="If only the permission to tag is missing, set durable=False"):
        model(world.create_dataset("other")).run()
    assert creates(world) == 2


def test_one_tag_is_the_providers_own(world: World) -> None:
    tags = {f"k{number}": "v" for number in range(50)}
    with pytest.raises(InvalidRequestError, match="tags: too many; a resource may have 50"):
        model(world.create_dataset(), tags=tags).run()
    arn = model(world.create_dataset("other"), tags=tags, durable=False).run(wait_for_completion=False)
    assert TAG not in world.ml.list_tags_for_resource(resourceArn=arn)["tags"]


@pytest.mark.parametrize("name", ["m", "x" * 55, "x" * 63, "m-retry-2", "m-retry-02"])
@pytest.mark.parametrize("number", [1, 2, 10, 999])
@pytest.mark.parametrize("limit", [50, 63])
def test_a_suffixed_name_fits_and_is_found_again(name: str, number: int, limit: int) -> None:
    made = build_retry_name(name[:limit], number, limit)
    assert len(made) <= limit
    assert parse_retry_number(made, name[:limit], limit) == number
    assert parse_retry_number(made, "other", limit) is None
    assert parse_retry_number(made + " ", name[:limit], limit) is None


def test_names_that_are_cut_are_told_apart() -> None:
    one, other = "x" * 60 + "one", "x" * 60 + "two"
    assert parse_retry_number(build_retry_name(one, 2, 63), other, 63) is None


def test_a_full_quota_is_waited_for_in_the_worker(world: World, pauses: list[float]) -> None:
    world.add_fault("CreateAudienceModel", "quota", times=3)
    model(world.create_dataset()).run(wait_for_completion=False)
    assert creates(world) == 4
    assert all(20 < pause <= 300 for pause in pauses)
    assert len(pauses) == 3


def test_a_quota_that_stays_full_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [_clock.now()]
    monkeypatch.setattr(_clock, "now", lambda: now[0])
    monkeypatch.setattr(_clock, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    world.add_fault("CreateAudienceModel", "quota", times=1000)
    with pytest.raises(
        QuotaExceededError,
        match=r"(?s)quotaName: Quota of an injected fault.*No quota became available within quota_timeout=3600 s",
    ):
        model(world.create_dataset(), quota_timeout=3600.0).run()
    assert creates(world) < 25


def test_each_turn_of_a_retry_looks_once(world: World) -> None:
    world.add_fault("CreateAudienceModel", "quota")
    retried = model(world.create_dataset(), deferrable=True)
    operator = retried.cls(**retried.given)
    context: Any = {"params": {}, "ti": retried.ti.make_next_try()}
    with pytest.raises(TaskDeferred):
        operator.execute_in_turn(context, {"turn": True, "deadline": _clock.now() + 3600})
    assert world.calls.count("ListAudienceModels") == 1


def test_quotas_for_which_waiting_does_not_help_fail_at_once(world: World) -> None:
    world.add_fault("CreateAudienceModel", "no_quota")
    with pytest.raises(NoQuotaError, match="(?s)quotaValue: 0.*servicequotas"):
        model(world.create_dataset()).run()
    world.add_fault("CreateAudienceModel", "quota")
    with pytest.raises(QuotaExceededError):
        model(world.create_dataset("other"), quota_timeout=0).run()
    assert creates(world) == 2


def configured(world: World, audience_model: str, **more: Any) -> Task:
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
    arn = configured(world, first, tags={"team": "a"}, description="old").run()
    get = world.ml.get_configured_audience_model
    assert configured(world, first, tags={"team": "a"}, description="old").run() == arn
    assert "UpdateConfiguredAudienceModel" not in world.calls
    assert "TagResource" not in world.calls
    changed = configured(
        world, second, tags={"team": "b"}, description="new", child_resource_tag_on_create_policy="FROM_PARENT_RESOURCE"
    )
    assert changed.run() == arn
    found = get(configuredAudienceModelArn=arn)
    assert (found["audienceModelArn"], found["description"], found["tags"]["team"]) == (second, "new", "b")
    assert found.get("childResourceTagOnCreatePolicy", "NONE") == "NONE"
    assert changed.run() == arn
    assert world.calls.count("UpdateConfiguredAudienceModel") == world.calls.count("TagResource") == 1
    assert world.calls.count("CreateConfiguredAudienceModel") == 1


def test_update_changes_what_its_own_run_has_made(world: World) -> None:
    task = configured(world, world.train_model(), if_exists="fail")
    arn = task.run()
    assert task.is_cleared(if_exists="update", shared_audience_metrics=["NONE"]) == arn
    assert world.calls.count("UpdateConfiguredAudienceModel") == 1


def test_only_what_can_be_updated_takes_update(world: World) -> None:
    with pytest.raises(InvalidRequestError, match="if_exists: 'update' is unknown; allowed: fail, reuse"):
        model(world.create_dataset(), if_exists="update").run()


@pytest.mark.parametrize("outcome", ["made", "lost"])
def test_a_retry_finds_what_a_later_turn_of_the_last_try_has_made(
    world: World, pauses: list[float], outcome: str
) -> None:
    """Its arguments render differently in each turn: the note of the first turn, which was refused, says nothing about the second."""
    task = model(world.create_dataset(), deferrable=True, wait_for_completion=False)
    context: Any = {"params": {}, "ti": task.ti, "task_state_store": StateStore()}
    world.add_fault("CreateAudienceModel", "quota")
    with pytest.raises(TaskDeferred):
        task.cls(**{**task.given, "name": "first"}).execute(context)
    if outcome == "lost":
        world.add_fault("CreateAudienceModel", "lose_response")
        world.add_fault("ListAudienceModels", "access_denied")
    with nullcontext() if outcome == "made" else pytest.raises(AccessDeniedError):
        task.cls(**{**task.given, "name": "second"}).execute_in_turn(
            context, {"turn": True, "deadline": _clock.now() + 3600}
        )
    task.ti, task.context = task.ti.make_next_try(), {"task_state_store": context["task_state_store"]}
    task.run(name="third")
    assert list(models(world)) == ["second"]


def test_a_note_that_nothing_was_sent_does_not_outlive_the_next_request(world: World, pauses: list[float]) -> None:
    """The store fails between two requests of one try, and a retry must not believe what it says about the first."""
    store = StateStore()
    task = model(world.create_dataset(), wait_for_completion=False)
    task.context["task_state_store"] = store
    world.add_fault("CreateAudienceModel", "quota")

    def fail(seconds: float) -> None:
        if not store.refuses:
            world.add_fault("CreateAudienceModel", "late_commit", seconds=60)
        store.refuses = True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_clock, "sleep", fail)
        with pytest.raises(CleanRoomsMLError):
            task.run(name="first")
    store.refuses = False
    world.emulator.advance(60)
    task.run(name="second")
    assert len(models(world)) == 1


def test_nothing_is_looked_for_once_a_try_has_stopped_waiting_for_quota(world: World, pauses: list[float]) -> None:
    task = model(world.create_dataset(), wait_for_completion=False, quota_timeout=0)
    task.context["task_state_store"] = StateStore()
    world.add_fault("CreateAudienceModel", "quota")
    with pytest.raises(QuotaExceededError):
        task.run()
    task.run()
    assert pauses == []


def test_a_note_from_before_a_clear_costs_no_further_listings(world: World, pauses: list[float]) -> None:
    """The first try after the clear fails before it writes a note; its retry searches as if there were no store."""
    listings = []
    for name, store in {"without": {}, "with": {"task_state_store": StateStore()}}.items():
        task = model(world.create_dataset(name), name=name, wait_for_completion=False)
        task.context.update(store)
        first = task.run()
        with pytest.raises(InvalidRequestError):
            task.is_cleared(training_dataset_arn="")
        before = world.calls.count("ListAudienceModels")
        assert task.run() == first
        listings.append(world.calls.count("ListAudienceModels") - before)
    assert listings[0] == listings[1]
