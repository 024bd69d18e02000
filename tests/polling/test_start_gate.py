"""Who is let through when, on a clock that the test owns."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

from airflow_cleanroomsml._polling.start_gate import ABSENCE, PACE, PROBE, SLOWEST, Gate, Ticket

QUOTA: dict[str, Any] = {"why": "quota", "quota_name": "jobs", "quota_value": 10}
THROTTLED: dict[str, Any] = {"why": "throttled", "quota_name": "", "quota_value": None}


class Crossing:
    """
    A gate and those before it.

    ``let`` has when each was let through.
    """

    def __init__(self) -> None:
        self.gate = Gate()
        self.now = 0.0
        self.under_way = 0
        self.tickets: dict[int, Ticket] = {}
        self.asks: dict[int, float] = {}
        self.let: dict[int, float] = {}
        self.asked: Counter[int] = Counter()

    def enter(self, number: int, refused: dict[str, Any] | None = None) -> None:
        self.tickets[number] = self.gate.enter(self.now, self.under_way, refused)
        self.asks[number] = self.now

    def leave(self, number: int) -> None:
        self.gate.leave(self.tickets.pop(number))
        del self.asks[number]

    def arrive(self) -> None:
        self.under_way += 1
        self.gate.arrived(self.now, self.under_way)

    def run(self, seconds: float) -> list[int]:
        """Let time pass; each asks again when it was told to. Who was let through."""
        end, through = self.now + seconds, []
        while self.asks and min(self.asks.values()) <= end:
            number = min(self.asks, key=lambda number: (self.asks[number], number))
            self.now = max(self.now, self.asks[number])
            self.asked[number] += 1
            pause = self.gate.ask(self.tickets[number], self.now, self.under_way)
            if pause:
                self.asks[number] = self.now + pause
                continue
            del self.asks[number], self.tickets[number]
            self.let[number] = self.now
            through.append(number)
        self.now = end
        return through


def entered(count: int) -> Crossing:
    crossing = Crossing()
    for number in range(count):
        crossing.enter(number)
    return crossing


def full(crossing: Crossing, accepted: int) -> None:
    """Of all that are let through only so many find room; the others come back."""
    while True:
        through = crossing.run(1.0)
        if not through:
            return
        for number in through:
            if crossing.under_way < accepted:
                crossing.arrive()
            else:
                crossing.enter(number, QUOTA)


class TestPace:
    def test_one_a_second_in_the_order_of_arrival(self) -> None:
        crossing = entered(200)
        assert crossing.run(300.0) == list(range(200))
        assert all(later - sooner == PACE for sooner, later in pairwise(crossing.let.values()))

    def test_few_ask_at_a_time(self) -> None:
        crossing = entered(1000)
        crossing.run(60.0)
        assert sum(crossing.asked.values()) < 1000 + 61 * 5

    def test_who_gives_up_holds_nobody_up(self) -> None:
        crossing = entered(3)
        crossing.leave(0)
        assert crossing.run(5.0) == [1, 2]

    def test_throttling_slows_it_down_to_a_bound(self) -> None:
        crossing = entered(1)
        pauses = []
        for number in range(1, 40):
            crossing.run(1000.0)
            crossing.enter(number, THROTTLED)
            sooner = crossing.now
            crossing.run(1000.0)
            pauses.append(crossing.let[number] - sooner)
        assert all(later >= sooner for sooner, later in pairwise(pauses[:6]))
        assert SLOWEST / 2 < max(pauses) <= SLOWEST

    def test_many_who_were_throttled_at_once_count_once(self) -> None:
        crossing = Crossing()
        for number in range(50):
            crossing.enter(number, THROTTLED)
        crossing.run(200.0)
        assert len(crossing.let) == 50

    def test_it_recovers_slowly(self) -> None:
        crossing = Crossing()
        for number in range(5):
            crossing.enter(number, THROTTLED)
            crossing.now += 100.0
        for number in range(5, 100):
            crossing.enter(number)
        crossing.run(1000.0)
        pauses = [later - sooner for sooner, later in pairwise(crossing.let.values())]
        assert pauses[0] > 10 * PACE
        assert all(later <= sooner + 1e-6 for sooner, later in pairwise(pauses))
        assert pauses[-1] == PACE


class TestRoom:
    def test_there_is_no_bound_until_somebody_is_refused(self) -> None:
        crossing = entered(50)
        for _ in range(50):
            for _ in crossing.run(1.0):
                crossing.arrive()
        assert crossing.under_way == 50

    def test_the_end_of_one_lets_the_next_through(self) -> None:
        crossing = entered(30)
        full(crossing, accepted=10)
        assert crossing.run(30.0) == []
        for _ in range(3):
            crossing.under_way -= 1
            assert len(crossing.run(2.0)) == 1
            crossing.arrive()
            assert crossing.run(2.0) == []

    def test_who_is_on_the_way_takes_room(self) -> None:
        crossing = entered(30)
        full(crossing, accepted=10)
        crossing.under_way -= 2
        assert len(crossing.run(10.0)) == 2

    def test_who_is_let_through_and_never_seen_again_is_forgotten(self) -> None:
        crossing = entered(12)
        full(crossing, accepted=10)
        crossing.under_way -= 1
        assert len(crossing.run(2.0)) == 1
        assert not crossing.gate.is_idle(crossing.now)
        crossing.leave(next(iter(crossing.tickets)))
        assert crossing.gate.is_idle(crossing.now + ABSENCE)

    def test_a_probe_finds_what_others_have_left(self) -> None:
        crossing = entered(20)
        full(crossing, accepted=0)
        # The quota is full of jobs that nobody here waits for; then they end.
        for under_way in range(1, 4):
            let = crossing.run(PROBE[0])
            assert len(let) == 1
            crossing.arrive()
            assert crossing.under_way == under_way
        # What was found to be possible stays so.
        crossing.under_way -= 2
        assert len(crossing.run(3.0)) == 2

    def test_probes_that_are_refused_grow_rare(self) -> None:
        crossing = entered(20)
        full(crossing, accepted=10)
        times = []
        for _ in range(20):
            while not (let := crossing.run(1.0)):
                pass
            assert len(let) == 1
            times.append(crossing.let[let[0]])
            crossing.enter(let[0], QUOTA)
        pauses = [later - sooner for sooner, later in pairwise(times)]
        assert min(pauses) >= PROBE[0] - 1
        assert pauses[0] < 2 * PROBE[0]
        assert all(PROBE[1] - 1 <= pause <= PROBE[1] + 2 for pause in pauses[-5:])

    def test_a_probe_that_succeeds_is_soon_followed_by_another(self) -> None:
        crossing = entered(20)
        full(crossing, accepted=10)
        for _ in range(6):
            while not (let := crossing.run(1.0)):
                pass
            crossing.enter(let[0], QUOTA)
        # By now probes are rare; then one finds room.
        while not (let := crossing.run(1.0)):
            pass
        crossing.arrive()
        succeeded = crossing.let[let[0]]
        (following,) = crossing.run(PROBE[0] + 1)
        assert crossing.let[following] - succeeded == PROBE[0]

    def test_two_hundred_starts_into_a_quota_of_ten_are_rarely_refused(self) -> None:
        crossing = entered(200)
        refused = done = 0
        ends: list[float] = []
        while done < 200:
            for number in crossing.run(1.0):
                if crossing.under_way < 10:
                    crossing.arrive()
                    ends.append(crossing.now + 600.0)
                else:
                    refused += 1
                    crossing.enter(number, QUOTA)
            done += sum(end <= crossing.now for end in ends)
            crossing.under_way -= sum(end <= crossing.now for end in ends)
            ends = [end for end in ends if end > crossing.now]
        # Twenty rounds of ten minutes, a start a second, and a probe now and then.
        assert crossing.now < 20 * 600.0 * 1.1
        assert refused < 60
