"""
At most one of what a run of a task asks for, whatever happens: a state machine of tries, kills, faults and other people.

Who has made what is known from whose request it was, not from tags. The clock is the test's own: a week passes in no time.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from airflow_cleanroomsml._idempotency.claim import TAG, VERSION_TAG, build_retry_name, compute_fingerprint
from airflow_cleanroomsml.emulator.faults import Fault
from airflow_cleanroomsml.emulator.lookalike import JobFailure
from tests.properties.invariants import Judge
from tests.properties.kill_points import POINTS, Fuse
from tests.properties.observed_emulator import LIVE, Laboratory, Maker
from tests.properties.operator_cases import KINDS, Kind
from tests.properties.task_try import Outcome, StateStore, Task, attempt

#: Seconds after a request within which it is carried out and shows; what was lost is looked for last 21 s after it.
SHOWN = 20
NAMES = ("m", "m-retry-2", "x" * 63)
#: Identifiers of runs: plain, Airflow's own, none that a tag may hold, one that is too long for a tag.
RUNS = (
    ("one", "two"),
    ("manual__2026-11-24T00:00:00+00:00", "scheduled__2026-11-24T00:00:00+00:00"),
    ("läuft", "lief"),
    ("r" * 240, "s" * 240),
)

whom = st.sampled_from([0, 0, 0, 1, 2])
#: To what the arguments of a retry render, see :meth:`Kind.name`; None for what they rendered to before.
variants = st.none() | st.sampled_from([3, 1, 2, 0])
modes = st.sampled_from(["does not wait", "waits", "is deferred"])
kills = st.none() | st.builds(Fuse, st.sampled_from(POINTS), st.sampled_from([1, 1, 1, 2, 2, 3, 4, 6, 9]))
failure = JobFailure("FAILED", "It fails.")


class AtMostOne(RuleBasedStateMachine):
    """Three tasks, two of them mapped from one, of which each makes at most one of what it asks for."""

    laboratory: ClassVar[Laboratory]
    #: Names of the kinds that are tried.
    kinds: ClassVar[tuple[str, ...]]
    #: How much was tried: examples, tries, calls.
    done: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.judge: Judge | None = None

    @initialize(
        data=st.data(),
        remembers=st.booleans(),
        unique=st.booleans(),
        progress=st.sampled_from([5, 60]),
        lag=st.sampled_from([0, 0, 3, 12]),
        name=st.sampled_from(NAMES),
        runs=st.sampled_from(RUNS),
    )
    def begin(
        self, data: Any, remembers: bool, unique: bool, progress: int, lag: int, name: str, runs: tuple[str, str]
    ) -> None:
        """
        Begin an example.

        :param remembers: Whether Airflow keeps a task's state.
        :param unique: Whether the service refuses a name that is in use.
        :param progress: Seconds that a job takes.
        :param lag: Seconds after which reads show what was made.
        """
        self.kind: Kind = KINDS[data.draw(st.sampled_from(self.kinds), label="kind")]
        self.lag, self.name = lag, name
        self.laboratory.begin(unique_names=unique, pending_seconds=1, progress_seconds=progress, delete_seconds=2)
        self.judge = Judge(self.laboratory, self.kind, name)
        self.tasks = [
            Task(run, index, StateStore(self.laboratory) if remembers else None)
            for run, index in ((runs[0], 0), (runs[0], 1), (runs[1], 0))[: 1 if self.kind.alone else None]
        ]
        self.done["examples"] += 1

    @property
    def _judge(self) -> Judge:
        assert self.judge is not None
        return self.judge

    def _task(self, who: int) -> Task:
        return self.tasks[who % len(self.tasks)]

    def _try(self, who: int, mode: str, fuse: Fuse | None = None, *faults: Fault, notes: bool = True) -> Outcome:
        """
        A try, and what must be true of it.

        :param mode: How it waits.
        :param notes: Whether the store takes notes.
        """
        task, kind = self._task(who), self.kind
        lagging = [Fault("*", verb, times=0, seconds=self.lag) for verb in ("stale_listing", "stale_read") if self.lag]
        given = {**kind.arguments(self.laboratory, self.name, task.variant), "if_exists": task.if_exists}
        if kind.waits:
            waits = {"wait_for_completion": mode != "does not wait", "deferrable": mode == "is deferred"}
            given.update(waits, quota_timeout=3600.0)
        if task.store is not None:
            task.store.refuses = not notes
        outcome = attempt(self.laboratory, kind, task, given, fuse, *faults, *lagging)
        self.done.update(tries=1, calls=len(outcome.calls))
        self._judge.require_sound(task, outcome)
        return outcome

    def _fault(self, how: str, **more: Any) -> Fault:
        return Fault(self.kind.operation, how, **more)

    @rule(who=whom, mode=modes, variant=variants)
    def tries(self, who: int, mode: str, variant: int | None) -> None:
        """With nothing in its way; a retry whose arguments render to those of a variant, if one is given."""
        self._renders_differently(who, variant)
        outcome = self._try(who, mode)
        if not self.lag:
            self._judge.require_reason(self._task(who), outcome.error)

    @rule(who=whom, mode=modes, fuse=kills, notes=st.booleans(), variant=variants)
    def is_killed(self, who: int, mode: str, fuse: Fuse | None, notes: bool, variant: int | None) -> None:
        """At any point, perhaps while the store takes no notes, perhaps a retry whose arguments render differently."""
        self._renders_differently(who, variant)
        self._try(who, mode, fuse, notes=notes)

    @rule(
        who=whom,
        mode=modes,
        fuse=kills,
        notes=st.booleans(),
        how=st.sampled_from(["lose_response", "reset", "server_error", "garbled", "slow"]),
    )
    def loses_the_answer(self, who: int, mode: str, fuse: Fuse | None, notes: bool, how: str) -> None:
        """Whether it was carried out or not; ``slow`` is a time-out."""
        self._try(who, mode, fuse, self._fault(how, seconds=90 if how == "slow" else 0), notes=notes)

    @rule(who=whom, mode=modes, fuse=kills, notes=st.booleans(), seconds=st.integers(1, SHOWN))
    def is_carried_out_late(self, who: int, mode: str, fuse: Fuse | None, notes: bool, seconds: int) -> None:
        """But shows before the last look."""
        late = self._fault("late_commit", seconds=max(1, min(seconds, SHOWN - self.lag)))
        self._try(who, mode, fuse, late, notes=notes)

    @rule(who=whom, mode=modes, fuse=kills, seconds=st.integers(SHOWN + 1, 500))
    def is_carried_out_too_late(self, who: int, mode: str, fuse: Fuse | None, seconds: int) -> None:
        """The documented exception, after the last look: one more may be there for each such request."""
        task = self._task(who)
        if task.over:
            task.clear()
        self._judge.is_late(task)
        self._try(who, mode, fuse, self._fault("late_commit", seconds=seconds))

    @rule(who=whom, mode=modes, fuse=kills, times=st.integers(1, 12))
    def is_throttled(self, who: int, mode: str, fuse: Fuse | None, times: int) -> None:
        """More often than is tried again at once, perhaps."""
        self._try(who, mode, fuse, self._fault("throttle", times=times))

    @rule(who=whom, mode=modes, fuse=kills, seconds=st.sampled_from([10, 100, 1000, 10_000]))
    def finds_no_room(self, who: int, mode: str, fuse: Fuse | None, seconds: int) -> None:
        """Until there is some, or it gives up."""
        self._try(who, mode, fuse, self._fault("quota", times=0, lasts=seconds))

    @rule(who=whom, mode=modes, fuse=kills)
    def has_a_job_that_fails(self, who: int, mode: str, fuse: Fuse | None) -> None:
        """If it starts one."""
        self._try(who, mode, fuse, self._fault("fail_job"))

    @rule(
        who=whom,
        mode=modes,
        fuse=kills,
        listing=st.booleans(),
        how=st.sampled_from(["reset", "throttle", "server_error", "garbled", "access_denied"]),
        times=st.integers(1, 8),
        lost=st.booleans(),
    )
    def cannot_read(
        self, who: int, mode: str, fuse: Fuse | None, listing: bool, how: str, times: int, lost: bool
    ) -> None:
        """Just when it matters, perhaps."""
        faults = [self._fault("lose_response")] if lost else []
        self._try(who, mode, fuse, *faults, Fault(self.kind.reads(self.laboratory)[listing], how, times=times))

    @rule(seconds=st.sampled_from([1, 5, 30, 400, 4000]))
    def time_passes(self, seconds: int) -> None:
        """And what is due happens."""
        self.laboratory.clock.advance(seconds)
        self.laboratory.run_due()

    @rule(who=whom, variant=st.integers(0, 3), choice=st.integers(0, 3))
    def is_cleared(self, who: int, variant: int, choice: int) -> None:
        """
        The next try is a clear, with these arguments.

        :param choice: What to do about one of the same name: nothing, or one of what the operator can.
        """
        task, choices = self._task(who), ("fail", *self.kind.operator.choices)
        if task.tries:
            task.clear()
        task.variant, task.if_exists = variant % self.kind.variants, choices[choice % len(choices)]

    def _renders_differently(self, who: int, variant: int | None) -> None:
        """If the next try is a retry: its arguments render to those of a variant, though nobody has changed them."""
        task = self._task(who)
        # What has no tags is remembered only by a store, and only by one that has taken all notes.
        told = self.kind.tagged or (task.store is not None and task.store.complete)
        if variant is not None and task.tries and not task.over and told:
            task.variant, task.unstable = variant % self.kind.variants, True

    @rule(
        who=whom,
        variant=st.sampled_from([3, 1, 2, 0]),
        mode=st.sampled_from(["waits", "is deferred"]),
        pauses=st.sampled_from([0, 1, 4]),
        ends=st.booleans(),
    )
    def breaks_off(self, who: int, variant: int, mode: str, pauses: int, ends: bool) -> None:
        """
        A wait that ends early, and a retry whose arguments render differently.

        :param pauses: In which pause the worker is killed; 0 denies it the first look instead.
        :param ends: Whether what was waited for fails, or is deleted, before the retry.
        """
        fuse = Fuse("in a pause", pauses) if pauses else None
        denied = [] if pauses else [Fault(self.kind.reads(self.laboratory)[0], "access_denied", times=0)]
        self._try(who, mode, fuse, *denied)
        if ends:
            self.the_newest_ends(who, deleted=variant % 2 == 0)
        self._renders_differently(who, variant)
        self._try(who, mode)

    @rule(who=whom, deleted=st.booleans())
    def the_newest_ends(self, who: int, deleted: bool) -> None:
        """What the task has made fails after all, or somebody deletes it."""
        live = [record for record in self._judge.made_by(self._task(who).maker) if record.status in LIVE]
        if live and deleted:
            live[-1].lifecycle.delete()
        elif live and self.kind.waits:
            live[-1].lifecycle.fail(failure, self.laboratory.clock.now())

    @rule(
        number=st.integers(1, 3),
        variant=st.integers(0, 2),
        tagged=st.booleans(),
        failed=st.booleans(),
    )
    def somebody_else_makes_one(self, number: int, variant: int, tagged: bool, failed: bool) -> None:
        """
        Of the same or a similar name.

        :param number: Which of the names that a task takes in turn.
        :param tagged: Whether it has the tag of the same request in another run.
        """
        laboratory, kind = self.laboratory, self.kind
        variant = 1 if kind.shared else variant % kind.variants
        arguments = kind.arguments(laboratory, self.name, variant)
        request = laboratory.hook.check(kind.operator.operation, arguments)
        if kind.tagged:
            value = f"dag/other/task/-1 {compute_fingerprint(request)}"
            # The tag of versions is their ARN's and tells of the last: see docs/design/idempotency.md.
            mine = tagged and not kind.shared
            arguments["tags"] = {TAG: value, VERSION_TAG: value} if mine else {"team": "theirs"}
        arguments["name"] = build_retry_name(arguments["name"], number, kind.name_limit)
        made = laboratory.make(Maker("", variant), kind.kind, kind.operator.operation, arguments)
        for record in made:
            if failed and kind.waits:
                record.lifecycle.fail(failure, laboratory.clock.now())
            self._judge.keep(record)

    @invariant()
    def at_most_one_is_live(self) -> None:
        if self.judge:
            self.judge.require_one_at_most(self.tasks)
            self.judge.require_others_untouched()

    def teardown(self) -> None:
        """What is still to be carried out is, and then nothing is in anybody's way: each task gets along, and twice to the same."""
        if not self.judge:
            return
        self.time_passes(1000)
        self.lag = 0
        for who, task in enumerate(self.tasks):
            if task.tries:
                # A retry whose arguments have rendered differently goes on with what no clear would ask for.
                results = [self._try(who, "does not wait") for _ in range(3 if task.unstable else 2)]
                for outcome in results:
                    self.judge.require_reason(task, outcome.error)
                first, second = results[-2:]
                # Of two that a late commit has led to, a retry reuses its own sequence's, and a cleared task the newest.
                same = first.result == second.result or self.judge.too_late[task.maker] > 0
                assert same, f"not the same: {first.result}, {second.result}"
        self.time_passes(1000)
        self.at_most_one_is_live()


def machine_in(place: Laboratory, *names: str) -> type[AtMostOne]:
    """
    The machine, in a laboratory.

    :param names: Names of the kinds that are tried; all if none is given.
    """

    class Machine(AtMostOne):
        laboratory = place
        kinds = names or tuple(KINDS)

    return Machine
