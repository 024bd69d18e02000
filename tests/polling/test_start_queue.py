"""When the start queue lets the next task start its job, with a clock that the test controls."""

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

    ``started_at`` is the time at which each may start, ``check_counts`` how often each has asked the queue.
    """

    def __init__(self, count: int = 0) -> None:
        self.queue = StartQueue()
        self.now = 0.0
        self.places: dict[int, Place] = {}
        self.next_check_at: dict[int, float] = {}
        self.started_at: dict[int, float] = {}
        self.check_counts: Counter[int] = Counter()
        for number in range(count):
            self.join(number)

    def join(self, number: int, refusal: dict[str, Any] | None = None) -> None:
        self.places[number] = self.queue.join(self.now, refusal)
        self.next_check_at[number] = self.now

    def leave(self, number: int) -> None:
        del self.next_check_at[number]
        with self.places.pop(number):
            pass

    def run(self, seconds: float) -> list[int]:
        """Let time pass, while each task asks the queue when its pause ends; return the tasks that may start."""
        end, started = self.now + seconds, []
        while self.next_check_at and min(self.next_check_at.values()) <= end:
            number = min(self.next_check_at, key=lambda number: (self.next_check_at[number], number))
            self.now = max(self.now, self.next_check_at[number])
            self.check_counts[number] += 1
            pause = self.queue.pause(self.places[number], self.now)
            if pause:
                self.next_check_at[number] = self.now + pause
                continue
            del self.next_check_at[number], self.places[number]
            self.started_at[number] = self.now
            started.append(number)
        self.now = end
        return started

    def fill_quota(self, quota: int) -> int:
        """Let tasks start until the quota is used up and refused tasks are back in the queue; return the number of refusals."""
        running = refusals = 0
        while started := self.run(1.0):
            for number in started:
                if running < quota:
                    running += 1
                else:
                    refusals += 1
                    self.join(number, QUOTA)
        return refusals


class TestRate:
    def test_one_task_per_second_in_order(self) -> None:
        tasks = Tasks(200)
        assert tasks.run(300.0) == list(range(200))
        assert all(later - sooner == START_INTERVAL for sooner, later in pairwise(tasks.started_at.values()))

    def test_few_ask_at_a_time(self) -> None:
        tasks = Tasks(1000)
        tasks.run(60.0)
        assert sum(tasks.check_counts.values()) < 1000 + 61 * 20

    def test_leaving_task_delays_no_other(self) -> None:
        tasks = Tasks(3)
        tasks.leave(0)
        assert tasks.run(5.0) == [1, 2]

    def test_many_leaving_tasks_delay_others_by_a_minute_at_most(self) -> None:
        tasks = Tasks(500)
        tasks.run(1.0)
        for number in range(2, 400):
            tasks.leave(number)
        assert tasks.run(62.0)

    def test_throttling_slows_starts_to_limit(self) -> None:
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

    def test_simultaneous_throttling_counts_once(self) -> None:
        tasks = Tasks()
        for number in range(50):
            tasks.join(number, THROTTLED)
        tasks.run(200.0)
        assert len(tasks.started_at) == 50

    def test_rate_recovers_slowly(self) -> None:
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
    def test_no_limit_before_first_refusal(self) -> None:
        assert len(Tasks(50).run(50.0)) == 50

    def test_end_of_job_lets_next_task_start(self) -> None:
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

    def test_one_task_probes_full_quota_at_intervals(self) -> None:
        tasks = Tasks(20)
        tasks.fill_quota(0)
        assert len(tasks.run(REFUSAL_INTERVAL)) == 1
        for _ in range(5):
            assert len(tasks.run(PROBE_INTERVAL)) == 1

    def test_refused_probe_prolongs_wait_of_others(self) -> None:
        tasks = Tasks(20)
        tasks.fill_quota(0)
        (number,) = tasks.run(REFUSAL_INTERVAL)
        tasks.join(number, QUOTA)
        assert tasks.run(REFUSAL_INTERVAL - 1) == []
        assert len(tasks.run(2.0)) == 1

    def test_frequent_ends_do_not_prevent_probes(self) -> None:
        tasks = Tasks(300)
        tasks.fill_quota(10)
        started = 0
        for _ in range(40):
            tasks.queue.record_end()
            started += len(tasks.run(30.0))
        assert started > 50

    def test_full_quota_is_forgotten_if_queue_is_empty(self) -> None:
        tasks = Tasks(11)
        tasks.fill_quota(10)
        tasks.run(REFUSAL_INTERVAL)
        for number in range(20, 30):
            tasks.join(number)
        assert len(tasks.run(10.0)) == 10

    def test_few_of_two_hundred_starts_are_refused(self) -> None:
        tasks = Tasks(200)
        refusals, ends = 0, list[float]()
        while len(ends) < 200:
            for number in tasks.run(1.0):
                if sum(end > tasks.now for end in ends) < 10:
                    ends.append(tasks.now + 600.0)
                else:
                    refusals += 1
                    tasks.join(number, QUOTA)
            for _ in range(sum(tasks.now - 1.0 < end <= tasks.now for end in ends)):
                tasks.queue.record_end()
        # Twenty rounds of ten minutes. In each, two attempts fail because no other job has ended yet.
        assert max(ends) < 20 * 600.0 * 1.1
        assert refusals < 60
