"""What the poller reads, by how many calls, and what it tells; the time of most tests here is their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._polling.backoff import LONGEST, SHORTEST, Pace
from airflow_cleanroomsml._polling.calls import Outbox, wait_of
from airflow_cleanroomsml._polling.client import PollingHook
from airflow_cleanroomsml._polling.planner import Planner
from airflow_cleanroomsml._polling.subscription import Mail, Subscription, Update
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

    ``turns`` counts the looks that waits have had, or left out for others: each is worth one call.
    """

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.time = NOW
        self.turns = 0
        self.told: list[tuple[Subscription, Update]] = []
        self.watches: list[Subscription] = []
        self.hook = PollingHook()
        self._outbox = Outbox()
        self._planner = Planner(self._outbox)
        monkeypatch.setattr(_clock, "now", lambda: self.time)

    def watch(self, wait: Wait) -> Subscription:
        loop: Any = None  # nobody listens
        self.watches.append(Subscription(wait, loop))
        return self.watches[-1]

    def job(self, arn: str, goal: str = "created", waited: float = 1000.0, **more: Any) -> Subscription:
        """A wait that has gone on for a while, so that it is looked at every 60 seconds."""
        identifiers = {"audience_generation_job_arn": arn}
        begun = self.time - waited
        return self.watch(Wait("audience generation job", goal, identifiers, begun, self.time + 1e6, 60.0, **more))

    def jobs(self, arns: list[str], **more: Any) -> list[Subscription]:
        return [self.job(arn, **more) for arn in arns]

    def round(self, after: float = 0.1) -> list[str]:
        """The operations of one round, some seconds later."""
        self.time += after
        before = len(self.world.calls)
        due = {watch: watch.due for watch in self.watches if not watch.over}
        plan = self._planner.plan(watch for watch in self.watches if not watch.over)
        call = next(plan, None)
        while call is not None:
            found: Any
            try:
                found = call.make(self.hook)
            except CleanRoomsMLError as error:
                found = error
            call = next_of(plan, found)
        self.turns += len({watch.key for watch, when in due.items() if watch.due != when or watch.over})
        self.told += self._outbox.news
        self._outbox.news = []
        return self.world.calls[before:]

    def until_due(self) -> float:
        """Seconds until the first look."""
        return max(0.0, min(watch.due for watch in self.watches if not watch.over) - self.time)

    def statuses(self, watches: list[Subscription]) -> set[str]:
        return {watch.seen.status if watch.seen else "" for watch in watches}


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
    from tests.conftest import _led_to

    world = CrowdedWorld(crowded)
    _led_to(world, monkeypatch)
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
        (arn,) = crowd.jobs(1)
        watches = [desk.job(arn) for _ in range(20)]
        assert desk.round() == [GET]
        assert desk.statuses(watches) == {"CREATE_IN_PROGRESS"}

    def test_a_listing_serves_many_waits_of_a_kind(self, crowd: CrowdedWorld, desk: Desk) -> None:
        watches = desk.jobs(crowd.jobs(150))
        assert desk.round() == [LIST] * 2
        assert desk.statuses(watches) == {"CREATE_IN_PROGRESS"}
        # The pauses are jittered; who is nearly due is looked at with the others.
        assert desk.round(desk.until_due()) == [LIST] * 2
        assert desk.round(1.0) == []

    def test_a_listing_full_of_history_is_read_while_that_is_cheaper(self, crowd: CrowdedWorld, desk: Desk) -> None:
        crowd.jobs(1000, seconds=-1)
        watches = desk.jobs(crowd.jobs(40))
        for _ in range(3):
            assert desk.round(desk.until_due()) == [LIST] * 11
            assert desk.statuses(watches) == {"CREATE_IN_PROGRESS"}

    def test_it_is_read_no_further_than_the_waits_go(self, crowd: CrowdedWorld, desk: Desk) -> None:
        arns = crowd.jobs(150)
        crowd.jobs(500, seconds=-1)
        desk.jobs(arns)
        assert desk.round() == [LIST] * 2

    def test_few_waits_in_a_long_history_are_read_one_by_one(self, crowd: CrowdedWorld, desk: Desk) -> None:
        crowd.jobs(600, seconds=-1)
        watches = desk.jobs(crowd.jobs(10))
        # Half as many pages as there are waits are tried once, at the cost of as many looks.
        assert desk.round() == [LIST] * 5 + [GET] * 5
        looks = [desk.round(10.0) for _ in range(20)]
        assert {operation for look in looks for operation in look} == {GET}
        assert desk.statuses(watches) == {"CREATE_IN_PROGRESS"}

    def test_who_is_far_behind_in_the_listing_is_read_alone(self, crowd: CrowdedWorld, desk: Desk) -> None:
        near = crowd.jobs(20)
        crowd.jobs(500, seconds=-1)
        watches = desk.jobs([*near, *crowd.jobs(1)])
        assert desk.round() == [LIST, LIST, GET]
        assert {desk.round(10.0).count(LIST) for _ in range(12)} == {0, 1}
        assert desk.statuses(watches) == {"CREATE_IN_PROGRESS"}

    def test_no_look_costs_more_than_a_call(self, crowd: CrowdedWorld, desk: Desk) -> None:
        crowd.jobs(800, seconds=-1)
        early, late = crowd.jobs(40, seconds=300), crowd.jobs(40)
        calls = 0
        for step in range(120):
            # They come one after the other, some end, some are deleted.
            for arn in (early + late)[step * 4 : step * 4 + 4]:
                desk.job(arn)
            if step == 60:
                crowd.emulator.push(400)
            calls += len(desk.round(7.0))
            # A sweep in vain is paid for within a minute, by looks that are left out.
            assert calls <= desk.turns + len(desk.watches) / 2
        assert calls <= desk.turns
        assert {watch.seen.status for watch in desk.watches if watch.over and watch.seen} == {"ACTIVE"}
        assert sum(watch.over for watch in desk.watches) == 40


class TestMeaning:
    def test_what_has_ended_is_told_as_a_look_by_itself_would_tell_it(
        self, world: World, desk_at: Callable[[World], Desk]
    ) -> None:
        desk = desk_at(world)
        job = world.generated()
        watches = [desk.job(job), desk.job(job, goal="deleted")]
        desk.round()
        assert watches[0].over
        assert watches[0].seen == poll_once(desk.hook, wait_of(watches[0]))
        assert watches[0].seen.outputs["metrics"]
        assert not watches[1].over

    def test_a_listing_that_shows_an_end_leads_to_the_whole_story(self, crowd: CrowdedWorld, desk: Desk) -> None:
        ended, going = crowd.jobs(2, seconds=-1), crowd.jobs(8)
        watches = desk.jobs([*ended, *going])
        assert desk.round() == [LIST, GET, GET]
        assert [watch.over for watch in watches] == [True] * 2 + [False] * 8
        assert watches[0].seen == poll_once(desk.hook, wait_of(watches[0]))

    def test_what_is_gone_is_found_out(self, crowd: CrowdedWorld, desk: Desk) -> None:
        gone, *others = crowd.jobs(5, seconds=-1)
        crowd.ml.delete_audience_generation_job(audienceGenerationJobArn=gone)
        crowd.emulator.push(1)
        deleted, waiting = desk.job(gone, goal="deleted"), desk.jobs(others, goal="deleted")
        desk.round()
        assert deleted.seen == PollResult("", Outcome.SUCCESS)
        assert desk.statuses(waiting) == {"ACTIVE"}
        assert not any(watch.over for watch in waiting)

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
        studio.until("get_trained_model", trainedModelArn=studio.model, versionIdentifier=versions[1])
        waits = [
            Wait("trained model", "created", {**first, "version_identifier": version}, NOW, NOW + 1e6, 60.0)
            for version in versions
        ]
        watches = [desk.watch(wait) for wait in waits]
        desk.round()
        desk.round(120.0)
        seen = [watch.seen for watch in watches]
        assert seen == [poll_once(desk.hook, wait) for wait in waits]

    @versioned
    def test_a_version_under_way_says_nothing_of_another(
        self, studio: Studio, desk_at: Callable[[World], Desk]
    ) -> None:
        desk, model = desk_at(studio.world), studio.model
        before = studio.world.emulator.switch(progress_seconds=3600)
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
            studio.world.emulator.switch(**before)
        first, second = (
            desk.watch(
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
        assert first.seen is None or first.seen.status == "ACTIVE"
        desk.round(120.0)
        assert desk.statuses([first]) == {"ACTIVE"}
        assert desk.statuses([second]) <= {"CREATE_PENDING", "CREATE_IN_PROGRESS"}

    def test_exports_of_a_job_share_its_listing(self, crowd: CrowdedWorld, desk: Desk) -> None:
        (job,) = crowd.jobs(1, seconds=-1)
        crowd.exports(job, 3)
        crowd.emulator.push(1)
        crowd.exports(job, 1, seconds=-1)
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
        watches = [desk.watch(wait) for wait in waits]
        assert desk.round() == ["ListAudienceExportJobs"]
        # A newer namesake is the one that is meant; what is not there yet may come.
        assert [watch.over for watch in watches] == [True, False, False, False]
        assert [watch.seen for watch in watches] == [poll_once(desk.hook, wait) for wait in waits]


class TestFaults:
    def test_a_listing_that_is_refused_leaves_gets(self, crowd: CrowdedWorld, desk: Desk) -> None:
        watches = desk.jobs(crowd.jobs(6))
        crowd.fault(LIST, "access_denied")
        assert desk.round().count(LIST) == 1
        desk.round(70.0)
        assert desk.statuses(watches) == {"CREATE_IN_PROGRESS"}
        assert crowd.calls.count(LIST) == 1

    def test_an_error_is_that_of_one_wait(self, crowd: CrowdedWorld, desk: Desk) -> None:
        watches = desk.jobs([*crowd.jobs(1), "arn:aws:cleanrooms-ml:us-east-1:1:audience-generation-job/no"])
        crowd.fault(LIST, "access_denied")
        desk.round()
        desk.round(70.0)
        assert [watch.over for watch in watches] == [False, True]
        assert [type(news.found).__name__ for _, news in desk.told if news.final] == ["InvalidRequestError"]

    def test_a_sweep_that_is_throttled_is_no_end(self, crowd: CrowdedWorld, desk: Desk) -> None:
        watches = desk.jobs(crowd.jobs(6))
        crowd.fault(LIST, "throttle")
        desk.round()
        assert all(watch.seen and "ThrottlingException" in watch.seen.message for watch in watches)
        desk.round(70.0)
        assert desk.statuses(watches) == {"CREATE_IN_PROGRESS"}

    @pytest.mark.parametrize("goal", ["created", "deleted"])
    @pytest.mark.parametrize("page", [1, 2])
    def test_a_page_that_is_no_answer_is_no_end(self, crowd: CrowdedWorld, desk: Desk, goal: str, page: int) -> None:
        watches, pages = desk.jobs(crowd.jobs(150), goal=goal), []

        def garble(**_: Any) -> None:
            pages.append(LIST)
            if len(pages) == page:
                crowd.fault(LIST, "garbled")

        desk.hook.conn_once.meta.events.register("before-call", garble)
        assert desk.round() == [LIST] * page
        assert not any(watch.over for watch in watches)
        assert crowd.emulator.faults(crowd.account) == []
        desk.round(70.0)
        assert desk.statuses(watches) == {"CREATE_IN_PROGRESS"}

    @pytest.mark.parametrize("goal", ["created", "deleted"])
    def test_exports_are_not_gone_from_a_listing_that_is_no_answer(
        self, crowd: CrowdedWorld, desk: Desk, goal: str
    ) -> None:
        (job,) = crowd.jobs(1, seconds=-1)
        crowd.exports(job, 1)
        identifiers = {"audience_generation_job_arn": job, "name": "job-0"}
        watch = desk.watch(Wait("audience export job", goal, identifiers, NOW, NOW + 1e6, 60.0, lag=0.0))
        crowd.fault("ListAudienceExportJobs", "garbled")
        desk.round()
        assert not watch.over
        desk.round(70.0)
        assert desk.statuses([watch]) == {"CREATE_IN_PROGRESS"}

    def test_what_hangs_is_asked_once_a_round(self, crowd: CrowdedWorld, desk: Desk) -> None:
        watches = desk.jobs(crowd.jobs(6))
        crowd.fault(LIST, "access_denied")
        crowd.fault(GET, "reset", times=6)
        assert desk.round().count(GET) == 1
        assert not any(watch.over for watch in watches)


class TestTelling:
    def test_nothing_new_is_told_after_ten_minutes(self, crowd: CrowdedWorld, desk: Desk) -> None:
        (arn,) = crowd.jobs(1)
        desk.job(arn)
        times = []
        for _ in range(400):
            desk.round(10.0)
            times += [desk.time] * len(desk.told)
            desk.told = []
        pauses = [later - sooner for sooner, later in pairwise(times)]
        assert len(pauses) >= 5
        assert all(REPORT_INTERVAL <= pause <= REPORT_INTERVAL + 80 for pause in pauses)

    def test_a_loop_hears_a_few_at_a_time(self) -> None:
        heard: list[int] = []
        turns: list[int] = []

        class Ear:
            def hear(self, news: Update) -> None:
                heard.append(len(heard))

        async def listen() -> None:
            mail = Mail(asyncio.get_running_loop())
            ear: Any = Ear()
            news = Update(PollResult("", Outcome.PENDING), final=False)
            mail.post([(ear, news)] * 500)
            mail.post([(ear, news)] * 500)
            while len(heard) < 1000:
                await asyncio.sleep(0)
                turns.append(len(heard))

        asyncio.run(listen())
        assert max(later - sooner for sooner, later in pairwise([0, *turns])) <= 50


class TestPace:
    def test_throttling_slows_down_to_a_bound_and_recovers_slowly(self) -> None:
        pace = Pace()
        pace.went(NOW)
        assert pace.ready == NOW + SHORTEST
        pauses = []
        for _ in range(12):
            pace.throttled(NOW)
            pauses.append(pace.pause)
            assert pace.pause / 2 <= pace.ready - NOW <= pace.pause * 1.5
        assert all(later >= min(LONGEST, 2 * sooner) for sooner, later in pairwise(pauses))
        assert pauses[-1] == LONGEST
        calls = 0
        while pace.is_slowed:
            pace.went(NOW)
            calls += 1
        assert calls > 50

    def test_who_is_throttled_together_comes_back_apart(self) -> None:
        paces = [Pace() for _ in range(50)]
        for pace in paces:
            pace.throttled(NOW)
        assert len({pace.ready for pace in paces}) == 50
