"""What the poller reads, by how many calls, and what it tells; the time of most tests here is their own."""

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


class Desk:
    """
    A planner whose rounds the test makes, over real calls.

    ``polls`` counts the polls that were made, or skipped for others: each is worth one call.
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
        loop: Any = None  # no trigger takes the updates
        self.subscriptions.append(Subscription(wait, loop))
        return self.subscriptions[-1]

    @property
    def open(self) -> list[Subscription]:
        return [each for each in self.subscriptions if not each.is_finished]

    def job(self, arn: str, goal: str = "created", waited: float = 1000.0, **more: Any) -> Subscription:
        """A wait that has gone on for a while, so that it is looked at every 60 seconds."""
        identifiers = {"audience_generation_job_arn": arn}
        begun = self.time - waited
        return self.subscribe(Wait("audience generation job", goal, identifiers, begun, self.time + 1e6, 60.0, **more))

    def jobs(self, arns: list[str], **more: Any) -> list[Subscription]:
        return [self.job(arn, **more) for arn in arns]

    def round(self, after: float = 0.1) -> list[str]:
        """The operations of one round, some seconds later."""
        self.time += after
        before = len(self.world.calls)
        due = {each: each.due_at for each in self.open}
        plan = self._planner.plan(self.open)
        call = next(plan, None)
        while call is not None:
            found: Any
            try:
                found = call.make(self.hook)
            except CleanRoomsMLError as error:
                found = error
            call = next_of(plan, found)
        self.polls += len({each.target_key for each, when in due.items() if each.due_at != when or each.is_finished})
        self.updates += self._outbox.take_all()
        return self.world.calls[before:]

    def until_due(self) -> float:
        """Seconds until the first look."""
        return max(0.0, min(each.due_at for each in self.open) - self.time)

    def statuses(self, subscriptions: list[Subscription]) -> set[str]:
        return {each.last_result.status if each.last_result else "" for each in subscriptions}


def next_of(plan: Any, found: Any) -> Any:
    try:
        return plan.send(found)
    except StopIteration:
        return None


@pytest.fixture(scope="session")
def crowded() -> Iterator[CrowdedProcess]:
    process = CrowdedProcess()
    yield process
    process.stop()


@pytest.fixture
def crowd(crowded: CrowdedProcess, monkeypatch: pytest.MonkeyPatch) -> CrowdedWorld:
    from tests.conftest import _connect_to

    world = CrowdedWorld(crowded)
    _connect_to(world, monkeypatch)
    return world


@pytest.fixture
def desk_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[World], Desk]:
    return lambda world: Desk(world, monkeypatch)


@pytest.fixture
def studio(empty_world: World) -> Studio:
    return Studio(empty_world)


@pytest.fixture
def desk(crowd: CrowdedWorld, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(crowd, monkeypatch)


class TestReads:
    def test_one_read_serves_all_who_wait_for_the_same(self, crowd: CrowdedWorld, desk: Desk) -> None:
        (arn,) = crowd.add_jobs(1)
        subscriptions = [desk.job(arn) for _ in range(20)]
        assert desk.round() == [GET]
        assert desk.statuses(subscriptions) == {"CREATE_IN_PROGRESS"}

    def test_a_listing_serves_many_waits_of_a_kind(self, crowd: CrowdedWorld, desk: Desk) -> None:
        subscriptions = desk.jobs(crowd.add_jobs(150))
        assert desk.round() == [LIST] * 2
        assert desk.statuses(subscriptions) == {"CREATE_IN_PROGRESS"}
        # The pauses are jittered; who is nearly due is looked at with the others.
        assert desk.round(desk.until_due()) == [LIST] * 2
        assert desk.round(1.0) == []

    def test_a_listing_full_of_history_is_read_while_that_is_cheaper(self, crowd: CrowdedWorld, desk: Desk) -> None:
        crowd.add_jobs(1000, seconds=-1)
        subscriptions = desk.jobs(crowd.add_jobs(40))
        for _ in range(3):
            assert desk.round(desk.until_due()) == [LIST] * 11
            assert desk.statuses(subscriptions) == {"CREATE_IN_PROGRESS"}

    def test_what_becomes_due_meanwhile_is_left_to_the_next_sweep(self, crowd: CrowdedWorld, desk: Desk) -> None:
        subscriptions = desk.jobs(crowd.add_jobs(150))
        desk.round()
        for each in subscriptions[75:]:
            each.due_at += 30.0
            each.sweep_from += 30.0

        def take_a_minute(**_: Any) -> None:
            desk.time += 60.0

        desk.hook.conn_once.meta.events.register("before-call", take_a_minute)
        assert set(desk.round(desk.until_due())) == {LIST}
        assert desk.until_due() == 0.0
        assert set(desk.round()) == {LIST}

    def test_it_is_read_no_further_than_the_waits_go(self, crowd: CrowdedWorld, desk: Desk) -> None:
        arns = crowd.add_jobs(150)
        crowd.add_jobs(500, seconds=-1)
        desk.jobs(arns)
        assert desk.round() == [LIST] * 2

    def test_few_waits_in_a_long_history_are_read_one_by_one(self, crowd: CrowdedWorld, desk: Desk) -> None:
        crowd.add_jobs(600, seconds=-1)
        subscriptions = desk.jobs(crowd.add_jobs(10))
        # Half as many pages as there are waits are tried once, at the cost of as many looks.
        assert desk.round() == [LIST] * 5 + [GET] * 5
        looks = [desk.round(10.0) for _ in range(20)]
        assert {operation for look in looks for operation in look} == {GET}
        assert desk.statuses(subscriptions) == {"CREATE_IN_PROGRESS"}

    def test_who_is_far_behind_in_the_listing_is_read_alone(self, crowd: CrowdedWorld, desk: Desk) -> None:
        near = crowd.add_jobs(20)
        crowd.add_jobs(500, seconds=-1)
        subscriptions = desk.jobs([*near, *crowd.add_jobs(1)])
        assert desk.round() == [LIST, LIST, GET]
        assert {desk.round(10.0).count(LIST) for _ in range(12)} == {0, 1}
        assert desk.statuses(subscriptions) == {"CREATE_IN_PROGRESS"}

    def test_no_look_costs_more_than_a_call(self, crowd: CrowdedWorld, desk: Desk) -> None:
        crowd.add_jobs(800, seconds=-1)
        early, late = crowd.add_jobs(40, seconds=300), crowd.add_jobs(40)
        calls = 0
        for step in range(120):
            # They come one after the other, some end, some are deleted.
            for arn in (early + late)[step * 4 : step * 4 + 4]:
                desk.job(arn)
            if step == 60:
                crowd.emulator.push(400)
            calls += len(desk.round(7.0))
            # A sweep in vain is paid for within a minute, by looks that are left out.
            assert calls <= desk.polls + len(desk.subscriptions) / 2
        assert calls <= desk.polls
        assert {each.last_result.status for each in desk.subscriptions if each.is_finished and each.last_result} == {
            "ACTIVE"
        }
        assert sum(each.is_finished for each in desk.subscriptions) == 40


class TestMeaning:
    def test_what_has_ended_is_told_as_a_look_by_itself_would_tell_it(
        self, world: World, desk_at: Callable[[World], Desk]
    ) -> None:
        desk = desk_at(world)
        job = world.generate_audience()
        subscriptions = [desk.job(job), desk.job(job, goal="deleted")]
        desk.round()
        assert subscriptions[0].is_finished
        assert subscriptions[0].last_result == poll_once(desk.hook, subscriptions[0].wait)
        assert subscriptions[0].last_result.outputs["metrics"]
        assert not subscriptions[1].is_finished

    def test_a_listing_that_shows_an_end_leads_to_the_whole_story(self, crowd: CrowdedWorld, desk: Desk) -> None:
        ended, going = crowd.add_jobs(2, seconds=-1), crowd.add_jobs(8)
        subscriptions = desk.jobs([*ended, *going])
        assert desk.round() == [LIST, GET, GET]
        assert [each.is_finished for each in subscriptions] == [True] * 2 + [False] * 8
        assert subscriptions[0].last_result == poll_once(desk.hook, subscriptions[0].wait)

    def test_ends_that_are_too_many_to_read_at_once_are_told_by_their_listing(
        self, crowd: CrowdedWorld, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(planner, "_GETS_AFTER_SWEEP", 2)
        subscriptions = desk.jobs([*crowd.add_jobs(6, seconds=-1), *crowd.add_jobs(6)])
        assert desk.round() == [LIST, GET, GET]
        results = [each.last_result for each in subscriptions if each.is_finished]
        assert [(each.status, each.outcome) for each in results if each] == [("ACTIVE", Outcome.SUCCESS)] * 6
        assert [each.is_partial for each in results if each].count(True) == 4
        assert desk.statuses(subscriptions[6:]) == {"CREATE_IN_PROGRESS"}

    def test_what_is_gone_is_found_out(self, crowd: CrowdedWorld, desk: Desk) -> None:
        gone, *others = crowd.add_jobs(5, seconds=-1)
        crowd.ml.delete_audience_generation_job(audienceGenerationJobArn=gone)
        crowd.emulator.push(1)
        deleted, waiting = desk.job(gone, goal="deleted"), desk.jobs(others, goal="deleted")
        desk.round()
        assert deleted.last_result == PollResult("", Outcome.SUCCESS)
        assert desk.statuses(waiting) == {"ACTIVE"}
        assert not any(each.is_finished for each in waiting)

    @versioned
    def test_each_version_of_a_model_is_waited_for_by_itself(
        self, studio: Studio, desk_at: Callable[[World], Desk]
    ) -> None:
        desk = desk_at(studio.world)
        first = {"trained_model_arn": studio.model, "membership_identifier": studio.membership}
        incremental = [{"trainedModelArn": studio.model, "channelName": "before"}]
        made = studio.ml.create_trained_model(
            **studio.of,
            name="model",
            configuredModelAlgorithmAssociationArn=studio.association,
            resourceConfig={"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30},
            dataChannels=[{"mlInputChannelArn": studio.channel, "channelName": "training"}],
            incrementalTrainingDataChannels=incremental,
        )
        versions = ["NULL", made["versionIdentifier"]]
        studio.wait_until("get_trained_model", trainedModelArn=studio.model, versionIdentifier=versions[1])
        waits = [
            Wait("trained model", "created", {**first, "version_identifier": version}, NOW, NOW + 1e6, 60.0)
            for version in versions
        ]
        subscriptions = [desk.subscribe(wait) for wait in waits]
        desk.round()
        desk.round(120.0)
        seen = [each.last_result for each in subscriptions]
        assert seen == [poll_once(desk.hook, wait) for wait in waits]

    @versioned
    def test_a_version_under_way_says_nothing_of_another(
        self, studio: Studio, desk_at: Callable[[World], Desk]
    ) -> None:
        desk, model = desk_at(studio.world), studio.model
        before = studio.world.emulator.change_settings(progress_seconds=3600)
        try:
            made = studio.ml.create_trained_model(
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
            desk.subscribe(
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
            for version in ("NULL", made["versionIdentifier"])
        )
        # The listing shows the second one only.
        assert "ListTrainedModels" in desk.round()
        assert first.last_result is None or first.last_result.status == "ACTIVE"
        desk.round(120.0)
        assert desk.statuses([first]) == {"ACTIVE"}
        assert desk.statuses([second]) <= {"CREATE_PENDING", "CREATE_IN_PROGRESS"}

    def test_exports_of_a_job_share_its_listing(self, crowd: CrowdedWorld, desk: Desk) -> None:
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
        subscriptions = [desk.subscribe(wait) for wait in waits]
        assert desk.round() == ["ListAudienceExportJobs"]
        # A newer namesake is the one that is meant; what is not there yet may come.
        assert [each.is_finished for each in subscriptions] == [True, False, False, False]
        assert [each.last_result for each in subscriptions] == [poll_once(desk.hook, wait) for wait in waits]


class TestFaults:
    def test_a_listing_that_is_refused_leaves_gets(self, crowd: CrowdedWorld, desk: Desk) -> None:
        subscriptions = desk.jobs(crowd.add_jobs(6))
        crowd.add_fault(LIST, "access_denied")
        assert desk.round().count(LIST) == 1
        desk.round(70.0)
        assert desk.statuses(subscriptions) == {"CREATE_IN_PROGRESS"}
        assert crowd.calls.count(LIST) == 1

    def test_an_error_is_that_of_one_wait(self, crowd: CrowdedWorld, desk: Desk) -> None:
        subscriptions = desk.jobs([*crowd.add_jobs(1), "arn:aws:cleanrooms-ml:us-east-1:1:audience-generation-job/no"])
        crowd.add_fault(LIST, "access_denied")
        desk.round()
        desk.round(70.0)
        assert [each.is_finished for each in subscriptions] == [False, True]
        assert [type(update.result).__name__ for _, update in desk.updates if update.is_final] == [
            "InvalidRequestError"
        ]

    def test_a_sweep_that_is_throttled_is_no_end(self, crowd: CrowdedWorld, desk: Desk) -> None:
        subscriptions = desk.jobs(crowd.add_jobs(6))
        crowd.add_fault(LIST, "throttle")
        desk.round()
        assert all(each.last_result and "ThrottlingException" in each.last_result.message for each in subscriptions)
        desk.round(70.0)
        assert desk.statuses(subscriptions) == {"CREATE_IN_PROGRESS"}

    @pytest.mark.parametrize("goal", ["created", "deleted"])
    @pytest.mark.parametrize("page", [1, 2])
    def test_a_page_that_is_no_answer_is_no_end(self, crowd: CrowdedWorld, desk: Desk, goal: str, page: int) -> None:
        subscriptions, pages = desk.jobs(crowd.add_jobs(150), goal=goal), []

        def garble(**_: Any) -> None:
            pages.append(LIST)
            if len(pages) == page:
                crowd.add_fault(LIST, "garbled")

        desk.hook.conn_once.meta.events.register("before-call", garble)
        assert desk.round() == [LIST] * page
        assert not any(each.is_finished for each in subscriptions)
        assert crowd.emulator.list_faults(crowd.account) == []
        desk.round(70.0)
        assert desk.statuses(subscriptions) == {"CREATE_IN_PROGRESS"}

    @pytest.mark.parametrize("goal", ["created", "deleted"])
    def test_exports_are_not_gone_from_a_listing_that_is_no_answer(
        self, crowd: CrowdedWorld, desk: Desk, goal: str
    ) -> None:
        (job,) = crowd.add_jobs(1, seconds=-1)
        crowd.add_exports(job, 1)
        identifiers = {"audience_generation_job_arn": job, "name": "job-0"}
        subscription = desk.subscribe(Wait("audience export job", goal, identifiers, NOW, NOW + 1e6, 60.0, lag=0.0))
        crowd.add_fault("ListAudienceExportJobs", "garbled")
        desk.round()
        assert not subscription.is_finished
        desk.round(70.0)
        assert desk.statuses([subscription]) == {"CREATE_IN_PROGRESS"}

    def test_what_hangs_is_asked_once_a_round(self, crowd: CrowdedWorld, desk: Desk) -> None:
        subscriptions = desk.jobs(crowd.add_jobs(6))
        crowd.add_fault(LIST, "access_denied")
        crowd.add_fault(GET, "reset", times=6)
        assert desk.round().count(GET) == 1
        assert not any(each.is_finished for each in subscriptions)


class TestTelling:
    def test_nothing_new_is_told_after_ten_minutes(self, crowd: CrowdedWorld, desk: Desk) -> None:
        (arn,) = crowd.add_jobs(1)
        desk.job(arn)
        times = []
        for _ in range(400):
            desk.round(10.0)
            times += [desk.time] * len(desk.updates)
            desk.updates = []
        pauses = [later - sooner for sooner, later in pairwise(times)]
        assert len(pauses) >= 5
        assert all(REPORT_INTERVAL <= pause <= REPORT_INTERVAL + 80 for pause in pauses)

    def test_a_loop_takes_a_few_updates_at_a_time(self) -> None:
        taken: list[int] = []
        turns: list[int] = []

        class Counter:
            def deliver(self, update: Update) -> None:
                taken.append(len(taken))

        async def listen() -> None:
            queue = UpdateQueue(asyncio.get_running_loop())
            counter: Any = Counter()
            update = Update(PollResult("", Outcome.PENDING), is_final=False)
            queue.put([(counter, update)] * 500)
            queue.put([(counter, update)] * 500)
            while len(taken) < 1000:
                await asyncio.sleep(0)
                turns.append(len(taken))

        asyncio.run(listen())
        assert max(later - sooner for sooner, later in pairwise([0, *turns])) <= 50


class TestPace:
    def test_throttling_slows_down_to_a_bound_and_recovers_slowly(self) -> None:
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

    def test_clients_that_are_throttled_together_come_back_apart(self) -> None:
        paces = [Pace() for _ in range(50)]
        for pace in paces:
            pace.record_throttling(NOW)
        assert len({pace.ready_at for pace in paces}) == 50
