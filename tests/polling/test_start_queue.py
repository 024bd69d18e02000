"""When the next job may be started, on a clock that the test owns."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

from airflow_cleanroomsml._polling.backoff import LONGEST_PAUSE
from airflow_cleanroomsml._polling.start_queue import (
    PROBE_INTERVAL,
    REFUSAL_INTERVAL,
    START_INTERVAL,
    Place,
    StartQueue,
)

QUOTA: dict[str, Any] = {"why": "quota", "quota_name": "jobs", "quota_value": 10}
THROTTLED: dict[str, Any] = {"why": "throttled", "quota_name": "", "quota_value": None}


class Tasks:
    """
    Tasks that wait in a queue to start jobs.

    ``started_at`` has when each was let through, ``asked`` how often each has asked.
    """

    def __init__(self, count: int = 0) -> None:
        self.queue = StartQueue()
        self.now = 0.0
        self.places: dict[int, Place] = {}
        self.asks_at: dict[int, float] = {}
        self.started_at: dict[int, float] = {}
        self.asked: Counter[int] = Counter()
        for number in range(count):
            self.join(number)

    def join(self, number: int, refusal: dict[str, Any] | None = None) -> None:
        self.places[number] = self.queue.join(self.now, refusal)
        self.asks_at[number] = self.now

    def leave(self, number: int) -> None:
        del self.asks_at[number]
        with self.places.pop(number):
            pass

    def run(self, seconds: float) -> list[int]:
        """Let time pass; each asks again when it was told to. Return those that may start."""
        end, started = self.now + seconds, []
        while self.asks_at and min(self.asks_at.values()) <= end:
            number = min(self.asks_at, key=lambda number: (self.asks_at[number], number))
            self.now = max(self.now, self.asks_at[number])
            self.asked[number] += 1
            pause = self.queue.pause(self.places[number], self.now)
            if pause:
                self.asks_at[number] = self.now + pause
                continue
            del self.asks_at[number], self.places[number]
            self.started_at[number] = self.now
            started.append(number)
        self.now = end
        return started

    def fill_quota(self, quota: int) -> int:
        """Let tasks start until the quota is full and those that were refused are back; return how many were refused."""
        running = refused = 0
        while started := self.run(1.0):
            for number in started:
                if running < quota:
                    running += 1
                else:
                    refused += 1
                    self.join(number, QUOTA)
        return refused


class TestRate:
    def test_one_a_second_in_the_order_of_arrival(self) -> None:
        tasks = Tasks(200)
        assert tasks.run(300.0) == list(range(200))
        assert all(later - sooner == START_INTERVAL for sooner, later in pairwise(tasks.started_at.values()))

    def test_few_ask_at_a_time(self) -> None:
        tasks = Tasks(1000)
        tasks.run(60.0)
        assert sum(tasks.asked.values()) < 1000 + 61 * 20

    def test_a_task_that_leaves_holds_nobody_up(self) -> None:
        tasks = Tasks(3)
        tasks.leave(0)
        assert tasks.run(5.0) == [1, 2]

    def test_many_that_leave_hold_the_others_up_for_a_minute_at_most(self) -> None:
        tasks = Tasks(500)
        tasks.run(1.0)
        for number in range(2, 400):
            tasks.leave(number)
        assert tasks.run(62.0)

    def test_throttling_slows_it_down_to_a_bound(self) -> None:
        tasks = Tasks(1)
        pauses = []
        for number in range(1, 40):
            tasks.run(1000.0)
            tasks.join(number, THROTTLED)
            joined_at = tasks.now
            tasks.run(1000.0)
            pauses.append(tasks.started_at[number] - joined_at)
        assert max(pauses[:3]) < 15
        assert LONGEST_PAUSE / 2 < max(pauses) <= LONGEST_PAUSE * 1.5

    def test_many_that_were_throttled_at_once_count_once(self) -> None:
        tasks = Tasks()
        for number in range(50):
            tasks.join(number, THROTTLED)
        tasks.run(200.0)
        assert len(tasks.started_at) == 50

    def test_it_recovers_slowly(self) -> None:
        tasks = Tasks()
        for number in range(5):
            tasks.join(number, THROTTLED)
            tasks.now += 100.0
        for number in range(5, 100):
            tasks.join(number)
        tasks.run(2000.0)
        pauses = [later - sooner for sooner, later in pairwise(tasks.started_at.values())]
        assert pauses[0] > 10 * START_INTERVAL
        assert pauses[-1] == START_INTERVAL


class TestQuota:
    def test_there_is_no_bound_until_a_start_is_refused(self) -> None:
        assert len(Tasks(50).run(50.0)) == 50

    def test_the_end_of_a_job_lets_the_next_task_start(self) -> None:
        tasks = Tasks(30)
        assert tasks.fill_quota(10) == 1
        for _ in range(3):
            assert tasks.run(10.0) == []
            tasks.queue.record_end()
            assert len(tasks.run(2.0)) == 1

    def test_several_ends_let_several_start(self) -> None:
        tasks = Tasks(30)
        tasks.fill_quota(10)
        tasks.queue.record_end()
        tasks.queue.record_end()
        assert len(tasks.run(10.0)) == 2

    def test_now_and_then_one_task_finds_out_whether_others_have_left_room(self) -> None:
        tasks = Tasks(20)
        tasks.fill_quota(0)
        assert len(tasks.run(REFUSAL_INTERVAL)) == 1
        for _ in range(5):
            assert len(tasks.run(PROBE_INTERVAL)) == 1

    def test_a_task_that_finds_no_room_keeps_the_others_waiting_for_longer(self) -> None:
        tasks = Tasks(20)
        tasks.fill_quota(0)
        (number,) = tasks.run(REFUSAL_INTERVAL)
        tasks.join(number, QUOTA)
        assert tasks.run(REFUSAL_INTERVAL - 1) == []
        assert len(tasks.run(2.0)) == 1

    def test_ends_that_come_often_do_not_keep_it_from_finding_out(self) -> None:
        tasks = Tasks(300)
        tasks.fill_quota(10)
        started = 0
        for _ in range(40):
            tasks.queue.record_end()
            started += len(tasks.run(30.0))
        assert started > 50

    def test_a_full_quota_is_forgotten_once_nobody_waits(self) -> None:
        tasks = Tasks(11)
        tasks.fill_quota(10)
        tasks.run(REFUSAL_INTERVAL)
        for number in range(20, 30):
            tasks.join(number)
        assert len(tasks.run(10.0)) == 10

    def test_two_hundred_starts_into_a_quota_of_ten_are_rarely_refused(self) -> None:
        tasks = Tasks(200)
        refused, ends = 0, list[float]()
        while len(ends) < 200:
            for number in tasks.run(1.0):
                if sum(end > tasks.now for end in ends) < 10:
                    ends.append(tasks.now + 600.0)
                else:
                    refused += 1
                    tasks.join(number, QUOTA)
            for _ in range(sum(tasks.now - 1.0 < end <= tasks.now for end in ends)):
                tasks.queue.record_end()
        # Twenty rounds of ten minutes; in each of them two attempts find out that no other job has ended.
        assert max(ends) < 20 * 600.0 * 1.1
        assert refused < 60
