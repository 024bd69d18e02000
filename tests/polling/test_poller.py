"""What the poller reads, with how many calls, and what it reports. Most tests control the time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._polling import planner
from airflow_cleanroomsml._polling.backoff import LONGEST_PAUSE, POLL_INTERVAL, Pace
from airflow_cleanroomsml._polling.calls import Outbox
from airflow_cleanroomsml._polling.client import PollingHook
from airflow_cleanroomsml._polling.planner import Planner
from airflow_cleanroomsml._polling.subscription import Subscription, Update, UpdateQueue
from airflow_cleanroomsml._resources.table import Outcome
from airflow_cleanroomsml._waiting.loop import REPORT_INTERVAL, poll_once
from airflow_cleanroomsml._waiting.wait import PollResult, Wait
from airflow_cleanroomsml.exceptions import CleanRoomsMLError
from tests.helpers.custom_models import Studio, versioned
from tests.helpers.many_jobs import CrowdedProcess, CrowdedWorld
from tests.support import World

NOW = 2_000_000_000.0
GET, LIST = "GetAudienceGenerationJob", "ListAudienceGenerationJobs"


class PlannerDriver:
    """
    A planner whose rounds the test runs, with real calls.

    ``polls`` counts the polls of targets that were due, whether a Get or a listing answered them. Each justifies one call.
    """

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.time = NOW
        self.polls = 0
        self.updates: list[tuple[Subscription, Update]] = []
        self.subscriptions: list[Subscription] = []
        self.hook = PollingHook()
        self._outbox = Outbox()
        self._planner = Planner(self._outbox)
        monkeypatch.setattr(_clock, "now", lambda: self.time)

    def subscribe(self, wait: Wait) -> Subscription:
        loop: Any = None  # no trigger receives the updates
        self.subscriptions.append(Subscription(wait, loop))
        return self.subscriptions[-1]

    @property
    def open_subscriptions(self) -> list[Subscription]:
        return [each for each in self.subscriptions if not each.is_finished]

    def wait_for_job(self, arn: str, goal: str = "created", waited: float = 1000.0, **more: Any) -> Subscription:
        """Subscribe to a wait that began a while ago, so that it polls every 60 seconds."""
        identifiers = {"audience_generation_job_arn": arn}
        started = self.time - waited
        return self.subscribe(
            Wait("audience generation job", goal, identifiers, started, self.time + 1e6, 60.0, **more)
        )

    def wait_for_jobs(self, arns: list[str], **more: Any) -> list[Subscription]:
        return [self.wait_for_job(arn, **more) for arn in arns]

    def run_round(self, after: float = 0.1) -> list[str]:
        """Run a round, some seconds later; return the operations that it called."""
        self.time += after
        before = len(self.world.calls)
        due = {each: each.due_at for each in self.open_subscriptions}
        plan = self._planner.plan(self.open_subscriptions)
        call = next(plan, None)
        while call is not None:
            result: Any
            try:
                result = call.make(self.hook)
            except CleanRoomsMLError as error:
                result = error
            call = advance_plan(plan, result)
        self.polls += len({each.target_key for each, when in due.items() if each.due_at != when or each.is_finished})
        self.updates += self._outbox.take_all()
        return self.world.calls[before:]

    @property
    def seconds_until_due(self) -> float:
        """Seconds until the next poll is due."""
        return max(0.0, min(each.due_at for each in self.open_subscriptions) - self.time)

    def collect_statuses(self, subscriptions: list[Subscription]) -> set[str]:
        return {each.last_result.status if each.last_result else "" for each in subscriptions}


def advance_plan(plan: Any, result: Any) -> Any:
    """Send the result of a call to a plan; return the next call, or None at its end."""
    try:
        return plan.send(result)
    except StopIteration:
        return None


@pytest.fixture(scope="session")
def crowded_process() -> Iterator[CrowdedProcess]:
    process = CrowdedProcess()
    yield process
    process.stop()


@pytest.fixture
def crowd(crowded_process: CrowdedProcess, monkeypatch: pytest.MonkeyPatch) -> CrowdedWorld:
    from tests.conftest import _connect_to

    world = CrowdedWorld(crowded_process)
    _connect_to(world, monkeypatch)
    return world


@pytest.fixture
def build_driver(monkeypatch: pytest.MonkeyPatch) -> Callable[[World], PlannerDriver]:
    return lambda world: PlannerDriver(world, monkeypatch)


@pytest.fixture
def studio(empty_world: World) -> Studio:
    return Studio(empty_world)


@pytest.fixture
def driver(crowd: CrowdedWorld, monkeypatch: pytest.MonkeyPatch) -> PlannerDriver:
    return PlannerDriver(crowd, monkeypatch)


class TestReads:
    def test_waits_for_same_job_share_one_get(self, crowd: CrowdedWorld, driver: PlannerDriver) -> None:
        (arn,) = crowd.add_jobs(1)
        subscriptions = [driver.wait_for_job(arn) for _ in range(20)]
        assert driver.run_round() == [GET]
        assert driver.collect_statuses(subscriptions) == {"CREATE_IN_PROGRESS"}

    def test_listing_serves_many_waits(self, crowd: CrowdedWorld, driver: PlannerDriver) -> None:
        subscriptions = driver.wait_for_jobs(crowd.add_jobs(150))
        assert driver.run_round() == [LIST] * 2
        assert driver.collect_statuses(subscriptions) == {"CREATE_IN_PROGRESS"}
        # The pauses are jittered; waits that are nearly due are polled with the others.
        assert driver.run_round(driver.seconds_until_due) == [LIST] * 2
        assert driver.run_round(1.0) == []

    def test_long_listing_is_read_while_cheaper(self, crowd: CrowdedWorld, driver: PlannerDriver) -> None:
        crowd.add_jobs(1000, seconds=-1)
        subscriptions = driver.wait_for_jobs(crowd.add_jobs(40))
        for _ in range(3):
            assert driver.run_round(driver.seconds_until_due) == [LIST] * 11
            assert driver.collect_statuses(subscriptions) == {"CREATE_IN_PROGRESS"}

    def test_polls_due_during_sweep_are_left_to_next_sweep(self, crowd: CrowdedWorld, driver: PlannerDriver) -> None:
        subscriptions = driver.wait_for_jobs(crowd.add_jobs(150))
        driver.run_round()
        for each in subscriptions[75:]:
            each.due_at += 30.0
            each.sweep_from += 30.0

        def take_a_minute(**_: Any) -> None:
            driver.time += 60.0

        driver.hook.conn_once.meta.events.register("before-call", take_a_minute)
        assert set(driver.run_round(driver.seconds_until_due)) == {LIST}
        assert driver.seconds_until_due == 0.0
        assert set(driver.run_round()) == {LIST}

    def test_sweep_stops_after_oldest_wait(self, crowd: CrowdedWorld, driver: PlannerDriver) -> None:
        arns = crowd.add_jobs(150)
        crowd.add_jobs(500, seconds=-1)
        driver.wait_for_jobs(arns)
        assert driver.run_round() == [LIST] * 2

    def test_few_waits_in_long_listing_are_read_by_get(self, crowd: CrowdedWorld, driver: PlannerDriver) -> None:
        crowd.add_jobs(600, seconds=-1)
        subscriptions = driver.wait_for_jobs(crowd.add_jobs(10))
        # One sweep reads half as many pages as there are waits, at the cost of as many Gets.
        assert driver.run_round() == [LIST] * 5 + [GET] * 5
        rounds = [driver.run_round(10.0) for _ in range(20)]
        assert {operation for calls in rounds for operation in calls} == {GET}
        assert driver.collect_statuses(subscriptions) == {"CREATE_IN_PROGRESS"}

    def test_job_deep_in_listing_is_read_by_get(self, crowd: CrowdedWorld, driver: PlannerDriver) -> None:
        near = crowd.add_jobs(20)
        crowd.add_jobs(500, seconds=-1)
        subscriptions = driver.wait_for_jobs([*near, *crowd.add_jobs(1)])
        assert driver.run_round() == [LIST, LIST, GET]
        assert {driver.run_round(10.0).count(LIST) for _ in range(12)} == {0, 1}
        assert driver.collect_statuses(subscriptions) == {"CREATE_IN_PROGRESS"}

    def test_poll_costs_at_most_one_call(self, crowd: CrowdedWorld, driver: PlannerDriver) -> None:
        crowd.add_jobs(800, seconds=-1)
        early, late = crowd.add_jobs(40, seconds=300), crowd.add_jobs(40)
        calls = 0
        for step in range(120):
            # Waits are added four at a time, and some of the jobs end.
            for arn in (early + late)[step * 4 : step * 4 + 4]:
                driver.wait_for_job(arn)
            if step == 60:
                crowd.emulator.push(400)
            calls += len(driver.run_round(7.0))
            # Within a minute, skipped polls make up for a sweep that found nothing.
            assert calls <= driver.polls + len(driver.subscriptions) / 2
        assert calls <= driver.polls
        assert {each.last_result.status for each in driver.subscriptions if each.is_finished and each.last_result} == {
            "ACTIVE"
        }
        assert sum(each.is_finished for each in driver.subscriptions) == 40


class TestResults:
    def test_result_equals_that_of_single_poll(
        self, world: World, build_driver: Callable[[World], PlannerDriver]
    ) -> None:
        driver = build_driver(world)
        job = world.generate_audience()
        subscriptions = [driver.wait_for_job(job), driver.wait_for_job(job, goal="deleted")]
        driver.run_round()
        assert subscriptions[0].is_finished
        assert subscriptions[0].last_result == poll_once(driver.hook, subscriptions[0].wait)
        assert subscriptions[0].last_result.outputs["metrics"]
        assert not subscriptions[1].is_finished

    def test_end_shown_by_listing_is_read_by_get(self, crowd: CrowdedWorld, driver: PlannerDriver) -> None:
        ended, running = crowd.add_jobs(2, seconds=-1), crowd.add_jobs(8)
        subscriptions = driver.wait_for_jobs([*ended, *running])
        assert driver.run_round() == [LIST, GET, GET]
        assert [each.is_finished for each in subscriptions] == [True] * 2 + [False] * 8
        assert subscriptions[0].last_result == poll_once(driver.hook, subscriptions[0].wait)

    def test_too_many_ends_are_reported_from_listing(
        self, crowd: CrowdedWorld, driver: PlannerDriver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(planner, "_GETS_AFTER_SWEEP", 2)
        subscriptions = driver.wait_for_jobs([*crowd.add_jobs(6, seconds=-1), *crowd.add_jobs(6)])
        assert driver.run_round() == [LIST, GET, GET]
        results = [each.last_result for each in subscriptions if each.is_finished]
        assert [(each.status, each.outcome) for each in results if each] == [("ACTIVE", Outcome.SUCCESS)] * 6
        assert [each.is_partial for each in results if each].count(True) == 4
        assert driver.collect_statuses(subscriptions[6:]) == {"CREATE_IN_PROGRESS"}

    def test_deleted_job_is_noticed(self, crowd: CrowdedWorld, driver: PlannerDriver) -> None:
        gone, *others = crowd.add_jobs(5, seconds=-1)
        crowd.ml.delete_audience_generation_job(audienceGenerationJobArn=gone)
        crowd.emulator.push(1)
        deleted, waiting = driver.wait_for_job(gone, goal="deleted"), driver.wait_for_jobs(others, goal="deleted")
        driver.run_round()
        assert deleted.last_result == PollResult("", Outcome.SUCCESS)
        assert driver.collect_statuses(waiting) == {"ACTIVE"}
        assert not any(each.is_finished for each in waiting)

    @versioned
    def test_versions_of_model_are_polled_separately(
        self, studio: Studio, build_driver: Callable[[World], PlannerDriver]
    ) -> None:
        driver = build_driver(studio.world)
        first = {"trained_model_arn": studio.model, "membership_identifier": studio.membership}
        incremental = [{"trainedModelArn": studio.model, "channelName": "before"}]
        response = studio.ml.create_trained_model(
            **studio.of,
            name="model",
            configuredModelAlgorithmAssociationArn=studio.association,
            resourceConfig={"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30},
            dataChannels=[{"mlInputChannelArn": studio.channel, "channelName": "training"}],
            incrementalTrainingDataChannels=incremental,
        )
        versions = ["NULL", response["versionIdentifier"]]
        studio.wait_until("get_trained_model", trainedModelArn=studio.model, versionIdentifier=versions[1])
        waits = [
            Wait("trained model", "created", {**first, "version_identifier": version}, NOW, NOW + 1e6, 60.0)
            for version in versions
        ]
        subscriptions = [driver.subscribe(wait) for wait in waits]
        driver.run_round()
        driver.run_round(120.0)
        results = [each.last_result for each in subscriptions]
        assert results == [poll_once(driver.hook, wait) for wait in waits]

    @versioned
    def test_running_version_does_not_affect_another(
        self, studio: Studio, build_driver: Callable[[World], PlannerDriver]
    ) -> None:
        driver, model = build_driver(studio.world), studio.model
        before = studio.world.emulator.change_settings(progress_seconds=3600)
        try:
            response = studio.ml.create_trained_model(
                **studio.of,
                name="model",
                configuredModelAlgorithmAssociationArn=studio.association,
                resourceConfig={"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30},
                dataChannels=[{"mlInputChannelArn": studio.channel, "channelName": "training"}],
                incrementalTrainingDataChannels=[{"trainedModelArn": model, "channelName": "before"}],
            )
        finally:
            studio.world.emulator.change_settings(**before)
        first, second = (
            driver.subscribe(
                Wait(
                    "trained model",
                    "created",
                    {
                        "trained_model_arn": model,
                        "membership_identifier": studio.membership,
                        "version_identifier": version,
                    },
                    NOW,
                    NOW + 1e6,
                    60.0,
                )
            )
            for version in ("NULL", response["versionIdentifier"])
        )
        # The listing shows only the second version.
        assert "ListTrainedModels" in driver.run_round()
        assert first.last_result is None or first.last_result.status == "ACTIVE"
        driver.run_round(120.0)
        assert driver.collect_statuses([first]) == {"ACTIVE"}
        assert driver.collect_statuses([second]) <= {"CREATE_PENDING", "CREATE_IN_PROGRESS"}

    def test_exports_of_job_share_listing(self, crowd: CrowdedWorld, driver: PlannerDriver) -> None:
        (job,) = crowd.add_jobs(1, seconds=-1)
        crowd.add_exports(job, 3)
        crowd.emulator.push(1)
        crowd.add_exports(job, 1, seconds=-1)
        waits = [
            Wait(
                "audience export job",
                "created",
                {"audience_generation_job_arn": job, "name": name},
                NOW,
                NOW + 1e6,
                60.0,
            )
            for name in ("job-0", "job-1", "job-2", "job-9")
        ]
        subscriptions = [driver.subscribe(wait) for wait in waits]
        assert driver.run_round() == ["ListAudienceExportJobs"]
        # Of two exports with the same name, the newer one counts. An export that does not exist yet may still appear.
        assert [each.is_finished for each in subscriptions] == [True, False, False, False]
        assert [each.last_result for each in subscriptions] == [poll_once(driver.hook, wait) for wait in waits]


class TestFaults:
    def test_denied_listing_is_replaced_by_gets(self, crowd: CrowdedWorld, driver: PlannerDriver) -> None:
        subscriptions = driver.wait_for_jobs(crowd.add_jobs(6))
        crowd.add_fault(LIST, "access_denied")
        assert driver.run_round().count(LIST) == 1
        driver.run_round(70.0)
        assert driver.collect_statuses(subscriptions) == {"CREATE_IN_PROGRESS"}
        assert crowd.calls.count(LIST) == 1

    def test_error_ends_one_wait_only(self, crowd: CrowdedWorld, driver: PlannerDriver) -> None:
        subscriptions = driver.wait_for_jobs(
            [*crowd.add_jobs(1), "arn:aws:cleanrooms-ml:us-east-1:1:audience-generation-job/no"]
        )
        crowd.add_fault(LIST, "access_denied")
        driver.run_round()
        driver.run_round(70.0)
        assert [each.is_finished for each in subscriptions] == [False, True]
        assert [type(update.result).__name__ for _, update in driver.updates if update.is_final] == [
            "InvalidRequestError"
        ]

    def test_throttled_sweep_ends_no_wait(self, crowd: CrowdedWorld, driver: PlannerDriver) -> None:
        subscriptions = driver.wait_for_jobs(crowd.add_jobs(6))
        crowd.add_fault(LIST, "throttle")
        driver.run_round()
        assert all(each.last_result and "ThrottlingException" in each.last_result.message for each in subscriptions)
        driver.run_round(70.0)
        assert driver.collect_statuses(subscriptions) == {"CREATE_IN_PROGRESS"}

    @pytest.mark.parametrize("goal", ["created", "deleted"])
    @pytest.mark.parametrize("page", [1, 2])
    def test_garbled_page_ends_no_wait(self, crowd: CrowdedWorld, driver: PlannerDriver, goal: str, page: int) -> None:
        subscriptions, pages = driver.wait_for_jobs(crowd.add_jobs(150), goal=goal), []

        def garble(**_: Any) -> None:
            pages.append(LIST)
            if len(pages) == page:
                crowd.add_fault(LIST, "garbled")

        driver.hook.conn_once.meta.events.register("before-call", garble)
        assert driver.run_round() == [LIST] * page
        assert not any(each.is_finished for each in subscriptions)
        assert crowd.emulator.list_faults(crowd.account) == []
        driver.run_round(70.0)
        assert driver.collect_statuses(subscriptions) == {"CREATE_IN_PROGRESS"}

    @pytest.mark.parametrize("goal", ["created", "deleted"])
    def test_export_is_not_gone_if_listing_is_garbled(
        self, crowd: CrowdedWorld, driver: PlannerDriver, goal: str
    ) -> None:
        (job,) = crowd.add_jobs(1, seconds=-1)
        crowd.add_exports(job, 1)
        identifiers = {"audience_generation_job_arn": job, "name": "job-0"}
        subscription = driver.subscribe(Wait("audience export job", goal, identifiers, NOW, NOW + 1e6, 60.0, lag=0.0))
        crowd.add_fault("ListAudienceExportJobs", "garbled")
        driver.run_round()
        assert not subscription.is_finished
        driver.run_round(70.0)
        assert driver.collect_statuses([subscription]) == {"CREATE_IN_PROGRESS"}

    def test_failing_get_is_sent_once_a_round(self, crowd: CrowdedWorld, driver: PlannerDriver) -> None:
        subscriptions = driver.wait_for_jobs(crowd.add_jobs(6))
        crowd.add_fault(LIST, "access_denied")
        crowd.add_fault(GET, "reset", times=6)
        assert driver.run_round().count(GET) == 1
        assert not any(each.is_finished for each in subscriptions)


class TestUpdates:
    def test_updates_repeat_every_ten_minutes(self, crowd: CrowdedWorld, driver: PlannerDriver) -> None:
        (arn,) = crowd.add_jobs(1)
        driver.wait_for_job(arn)
        times = []
        for _ in range(400):
            driver.run_round(10.0)
            times += [driver.time] * len(driver.updates)
            driver.updates = []
        pauses = [later - sooner for sooner, later in pairwise(times)]
        assert len(pauses) >= 5
        assert all(REPORT_INTERVAL <= pause <= REPORT_INTERVAL + 80 for pause in pauses)

    def test_loop_delivers_few_updates_at_a_time(self) -> None:
        delivered: list[int] = []
        totals: list[int] = []

        class Counter:
            def deliver(self, update: Update) -> None:
                delivered.append(len(delivered))

        async def receive() -> None:
            queue = UpdateQueue(asyncio.get_running_loop())
            counter: Any = Counter()
            update = Update(PollResult("", Outcome.PENDING), is_final=False)
            queue.put([(counter, update)] * 500)
            queue.put([(counter, update)] * 500)
            while len(delivered) < 1000:
                await asyncio.sleep(0)
                totals.append(len(delivered))

        asyncio.run(receive())
        assert max(later - sooner for sooner, later in pairwise([0, *totals])) <= 50


class TestPace:
    def test_throttling_slows_polls_down_to_limit(self) -> None:
        pace, now = Pace(), NOW
        pace.record_success(now)
        assert pace.ready_at == now + POLL_INTERVAL
        pauses = []
        for _ in range(12):
            now = pace.ready_at
            pace.record_throttling(now)
            pauses.append(pace.pause)
            assert pace.pause / 2 <= pace.ready_at - now <= pace.pause * 1.5
        assert all(later >= min(LONGEST_PAUSE, 2 * sooner) for sooner, later in pairwise(pauses))
        assert pauses[-1] == LONGEST_PAUSE
        calls = 0
        while pace.is_slowed:
            pace.record_success(now)
            calls += 1
        assert calls > 50

    def test_throttled_clients_resume_at_different_times(self) -> None:
        paces = [Pace() for _ in range(50)]
        for pace in paces:
            pace.record_throttling(NOW)
        assert len({pace.ready_at for pace in paces}) == 50
