"""
A state machine of tries, kills, faults and other owners: a task run never has more than one live resource.

The emulator records which request created each resource, so the oracle does not depend on tags. The clock belongs to the test, so a week
passes in no time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from airflow_cleanroomsml._idempotency.claim import TAG, VERSION_TAG, build_retry_name, compute_fingerprint
from airflow_cleanroomsml.emulator.faults import Fault
from airflow_cleanroomsml.emulator.lookalike import JobFailure
from tests.properties.invariants import Oracle
from tests.properties.kill_points import POINTS, Kill
from tests.properties.observed_emulator import LIVE, Creator, Laboratory
from tests.properties.operator_cases import KINDS, Kind
from tests.properties.task_try import Outcome, StateStore, Task, attempt

#: Seconds after a request by which it is committed and visible, if it is only delayed. A try's last search is 21 s after a request
#: whose response was lost.
VISIBLE = 20
NAMES = ("m", "m-retry-2", "x" * 63)
#: Pairs of run IDs: plain, Airflow's own, with a character that tags do not allow, too long for a tag.
RUNS = (
    ("one", "two"),
    ("manual__2026-11-24T00:00:00+00:00", "scheduled__2026-11-24T00:00:00+00:00"),
    ("läuft", "lief"),
    ("r" * 240, "s" * 240),
)

task_numbers = st.sampled_from([0, 0, 0, 1, 2])
#: The variant to which the arguments of a retry render, see :meth:`Kind.build_name`; None if they render to the same values as before.
variants = st.none() | st.sampled_from([3, 1, 2, 0])
modes = st.sampled_from(["does not wait", "waits", "is deferred"])
kills = st.none() | st.builds(Kill, st.sampled_from(POINTS), st.sampled_from([1, 1, 1, 2, 2, 3, 4, 6, 9]))
failure = JobFailure("FAILED", "It fails.")


class AtMostOne(RuleBasedStateMachine):
    """
    Three task instances, two of them mapped from one task, each of which creates at most one resource.

    Hypothesis sorts rules by their number of arguments and then by name, and arguments by name. A change of either changes the examples of
    every seed.
    """

    laboratory: ClassVar[Laboratory]
    #: Names of the kinds of resources that examples use.
    kinds: ClassVar[tuple[str, ...]]
    #: Number of examples, tries and calls so far.
    done: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.oracle: Oracle | None = None

    @initialize(
        data=st.data(),
        retains_state=st.booleans(),
        unique_names=st.booleans(),
        progress_seconds=st.sampled_from([5, 60]),
        lag=st.sampled_from([0, 0, 3, 12]),
        name=st.sampled_from(NAMES),
        run_ids=st.sampled_from(RUNS),
    )
    def begin(
        self,
        data: Any,
        retains_state: bool,
        unique_names: bool,
        progress_seconds: int,
        lag: int,
        name: str,
        run_ids: tuple[str, str],
    ) -> None:
        """
        Start a new example.

        :param retains_state: Whether Airflow has a task state store.
        :param unique_names: Whether the service rejects a name that is in use.
        :param progress_seconds: Seconds that a job takes.
        :param lag: Seconds after which reads and listings show a new resource.
        """
        self.kind: Kind = KINDS[data.draw(st.sampled_from(self.kinds), label="kind")]
        self.lag, self.name = lag, name
        self.laboratory.begin(
            unique_names=unique_names, pending_seconds=1, progress_seconds=progress_seconds, delete_seconds=2
        )
        self.oracle = Oracle(self.laboratory, self.kind, name)
        task_instances = ((run_ids[0], 0), (run_ids[0], 1), (run_ids[1], 0))
        self.tasks = [
            Task(run_id, map_index, StateStore(self.laboratory) if retains_state else None)
            for run_id, map_index in task_instances[: 1 if self.kind.is_ambiguous else None]
        ]
        self.done["examples"] += 1

    @property
    def _oracle(self) -> Oracle:
        assert self.oracle is not None
        return self.oracle

    def _find_task(self, which_task: int) -> Task:
        return self.tasks[which_task % len(self.tasks)]

    def _try(
        self,
        which_task: int,
        mode: str,
        kill: Kill | None = None,
        *faults: Fault,
        accepted_writes: int | None = None,
        turns: Iterable[int] = (),
    ) -> Outcome:
        """
        Run one try, and check its outcome.

        :param mode: How it waits.
        :param accepted_writes: Number of writes that the task state store, if any, accepts; None for any number.
        :param turns: The variants to which its arguments render each time it is resumed to send its request again.
        """
        task, kind = self._find_task(which_task), self.kind
        lag_faults = [
            Fault("*", stale, times=0, seconds=self.lag) for stale in ("stale_listing", "stale_read") if self.lag
        ]
        waits = {"wait_for_completion": mode != "does not wait", "deferrable": mode == "is deferred"}
        more = {**waits, "quota_timeout": 3600.0} if kind.waits else {}

        def build_arguments(variant: int) -> dict[str, Any]:
            arguments = kind.build_arguments(self.laboratory, self.name, variant)
            return {**arguments, "if_exists": task.if_exists, **more}

        if task.store is not None:
            task.store.accepts = accepted_writes
        outcome = attempt(
            self.laboratory,
            kind,
            task,
            build_arguments(task.variant),
            kill,
            *faults,
            *lag_faults,
            turns=[(variant, build_arguments(variant)) for variant in (each % kind.variants for each in turns)],
        )
        self.done.update(tries=1, calls=len(outcome.calls))
        self._oracle.require_sound(task, outcome)
        return outcome

    def _build_fault(self, kind_of_fault: str, **more: Any) -> Fault:
        """Build a fault in the operation that creates the resource."""
        return Fault(self.kind.operation, kind_of_fault, **more)

    @rule(which_task=task_numbers, mode=modes, variant=variants)
    def try_without_faults(self, which_task: int, mode: str, variant: int | None) -> None:
        """
        Run a try without injected faults.

        :param variant: For a retry, the variant to which its arguments render.
        """
        self._render_differently(which_task, variant)
        outcome = self._try(which_task, mode)
        if not self.lag:
            self._oracle.require_reason(self._find_task(which_task), outcome.error)

    @rule(which_task=task_numbers, mode=modes, kill=kills, saves_state=st.booleans(), variant=variants)
    def try_with_kill(
        self, which_task: int, mode: str, kill: Kill | None, saves_state: bool, variant: int | None
    ) -> None:
        """Kill a try at any point, perhaps while the store rejects writes, perhaps a retry whose arguments render differently."""
        self._render_differently(which_task, variant)
        self._try(which_task, mode, kill, accepted_writes=None if saves_state else 0)

    @rule(
        which_task=task_numbers,
        mode=modes,
        kill=kills,
        saves_state=st.booleans(),
        kind_of_fault=st.sampled_from(["lose_response", "reset", "server_error", "garbled", "slow"]),
    )
    def try_with_lost_response(
        self, which_task: int, mode: str, kill: Kill | None, saves_state: bool, kind_of_fault: str
    ) -> None:
        """Lose the response, whether the request was committed or not; ``slow`` causes a time-out."""
        fault = self._build_fault(kind_of_fault, seconds=90 if kind_of_fault == "slow" else 0)
        self._try(which_task, mode, kill, fault, accepted_writes=None if saves_state else 0)

    @rule(which_task=task_numbers, mode=modes, kill=kills, saves_state=st.booleans(), seconds=st.integers(1, VISIBLE))
    def try_with_delayed_commit(
        self, which_task: int, mode: str, kill: Kill | None, saves_state: bool, seconds: int
    ) -> None:
        """Commit the request late, but so that the last search finds the resource."""
        fault = self._build_fault("late_commit", seconds=max(1, min(seconds, VISIBLE - self.lag)))
        self._try(which_task, mode, kill, fault, accepted_writes=None if saves_state else 0)

    @rule(which_task=task_numbers, mode=modes, kill=kills, seconds=st.integers(VISIBLE + 1, 500))
    def try_with_overdue_commit(self, which_task: int, mode: str, kill: Kill | None, seconds: int) -> None:
        """Commit the request after the last search: the documented exception, in which each such request may add a resource."""
        task = self._find_task(which_task)
        if task.done:
            task.clear()
        self._oracle.expect_overdue(task)
        self._try(which_task, mode, kill, self._build_fault("late_commit", seconds=seconds))

    @rule(which_task=task_numbers, mode=modes, kill=kills, times=st.integers(1, 12))
    def try_with_throttling(self, which_task: int, mode: str, kill: Kill | None, times: int) -> None:
        """Throttle the request, perhaps more often than botocore retries it."""
        self._try(which_task, mode, kill, self._build_fault("throttle", times=times))

    @rule(which_task=task_numbers, mode=modes, kill=kills, seconds=st.sampled_from([10, 100, 1000, 10_000]))
    def try_with_full_quota(self, which_task: int, mode: str, kill: Kill | None, seconds: int) -> None:
        """Use up the quota for a while, perhaps for longer than the task waits."""
        self._try(which_task, mode, kill, self._build_fault("quota", times=0, lasts=seconds))

    @rule(
        which_task=task_numbers,
        mode=modes,
        kill=kills,
        refusals=st.integers(1, 3),
        turns=st.lists(st.integers(0, 3), max_size=3),
        accepted_writes=st.none() | st.integers(0, 4),
        loses_response=st.booleans(),
    )
    def try_several_turns(
        self,
        which_task: int,
        mode: str,
        kill: Kill | None,
        refusals: int,
        turns: list[int],
        accepted_writes: int | None,
        loses_response: bool,
    ) -> None:
        """
        Refuse some requests of a try for lack of quota, while its arguments render differently each time it is resumed.

        :param accepted_writes: Number of writes after which the store fails, perhaps between two requests.
        """
        task = self._find_task(which_task)
        if task.done:
            task.clear()
        if not self.kind.tagged:
            turns, accepted_writes = [], None
        if self.lag:
            # If the store does not learn of a later request, a retry searches only once for it: see docs/design/idempotency.md.
            accepted_writes = None
        faults = [self._build_fault("quota", times=refusals)]
        if loses_response:
            faults.append(self._build_fault("lose_response"))
        self._try(which_task, mode, kill, *faults, accepted_writes=accepted_writes, turns=turns)

    @rule(which_task=task_numbers, mode=modes, kill=kills)
    def fail_job(self, which_task: int, mode: str, kill: Kill | None) -> None:
        """Let the job fail, if the try starts one."""
        self._try(which_task, mode, kill, self._build_fault("fail_job"))

    @rule(
        which_task=task_numbers,
        mode=modes,
        kill=kills,
        listing=st.booleans(),
        kind_of_fault=st.sampled_from(["reset", "throttle", "server_error", "garbled", "access_denied"]),
        times=st.integers(1, 8),
        loses_response=st.booleans(),
    )
    def try_with_failing_reads(
        self,
        which_task: int,
        mode: str,
        kill: Kill | None,
        listing: bool,
        kind_of_fault: str,
        times: int,
        loses_response: bool,
    ) -> None:
        """Let reads or listings fail, perhaps just when the response to the create was lost."""
        faults = [self._build_fault("lose_response")] if loses_response else []
        read = Fault(self.kind.find_read_operations(self.laboratory)[listing], kind_of_fault, times=times)
        self._try(which_task, mode, kill, *faults, read)

    @rule(seconds=st.sampled_from([1, 5, 30, 400, 4000]))
    def advance_clock(self, seconds: int) -> None:
        """Let time pass, and execute the commits that are due."""
        self.laboratory.clock.advance(seconds)
        self.laboratory.run_due()

    @rule(which_task=task_numbers, variant=st.integers(0, 3), choice=st.integers(0, 3))
    def schedule_clear(self, which_task: int, variant: int, choice: int) -> None:
        """
        Clear a task, and change the arguments of its next try.

        :param choice: Number of the value of ``if_exists``: "fail" or one of the operator's choices.
        """
        task, choices = self._find_task(which_task), ("fail", *self.kind.operator.choices)
        if task.tries:
            task.clear()
        task.variant, task.if_exists = variant % self.kind.variants, choices[choice % len(choices)]

    def _render_differently(self, which_task: int, variant: int | None) -> None:
        """If the next try is a retry, let its arguments render to those of a variant, although nobody changed the Dag."""
        task = self._find_task(which_task)
        # Resources without tags are only found through a store, and only if it accepted all writes.
        is_findable = self.kind.tagged or (task.store is not None and task.store.is_complete)
        if variant is not None and task.tries and not task.done and is_findable:
            task.variant, task.unstable = variant % self.kind.variants, True

    @rule(
        which_task=task_numbers,
        variant=st.sampled_from([3, 1, 2, 0]),
        mode=st.sampled_from(["waits", "is deferred"]),
        pause=st.sampled_from([0, 1, 4]),
        ends=st.booleans(),
    )
    def interrupt_wait(self, which_task: int, variant: int, mode: str, pause: int, ends: bool) -> None:
        """
        Interrupt a wait, and run a retry whose arguments render differently.

        :param pause: Number of the pause in which the worker is killed; 0 denies it the first poll instead.
        :param ends: Whether the resource fails or is deleted before the retry.
        """
        kill = Kill("in a pause", pause) if pause else None
        read = self.kind.find_read_operations(self.laboratory)[0]
        faults = [] if pause else [Fault(read, "access_denied", times=0)]
        self._try(which_task, mode, kill, *faults)
        if ends:
            self.end_newest(which_task, deleted=variant % 2 == 0)
        self._render_differently(which_task, variant)
        self._try(which_task, mode)

    @rule(which_task=task_numbers, deleted=st.booleans())
    def end_newest(self, which_task: int, deleted: bool) -> None:
        """Let the newest resource of a task fail, or another user delete it."""
        created = self._oracle.list_created_by(self._find_task(which_task).creator)
        live = [record for record in created if record.status in LIVE]
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
    def use_name_as_another_owner(self, number: int, variant: int, tagged: bool, failed: bool) -> None:
        """
        Create a resource of another owner with the same or a similar name.

        :param number: Number of the retry whose name it takes.
        :param tagged: Whether it has the tag of an equal request in another run.
        """
        laboratory, kind = self.laboratory, self.kind
        variant = 1 if kind.shared else variant % kind.variants
        arguments = kind.build_arguments(laboratory, self.name, variant)
        request = laboratory.hook.check(kind.operator.operation, arguments)
        if kind.tagged:
            value = f"dag/other/task/-1 {compute_fingerprint(request)}"
            # The tag of versions belongs to their ARN and describes the last request: see docs/design/idempotency.md.
            has_provider_tag = tagged and not kind.shared
            arguments["tags"] = {TAG: value, VERSION_TAG: value} if has_provider_tag else {"team": "theirs"}
        arguments["name"] = build_retry_name(arguments["name"], number, kind.name_limit)
        records = laboratory.create(Creator("", variant), kind.record_kind, kind.operator.operation, arguments)
        for record in records:
            if failed and kind.waits:
                record.lifecycle.fail(failure, laboratory.clock.now())
            self._oracle.protect(record)

    @invariant()
    def at_most_one_is_live(self) -> None:
        if self.oracle:
            self.oracle.require_one_at_most(self.tasks)
            self.oracle.require_others_untouched()

    def teardown(self) -> None:
        """
        Let all delayed commits happen, and then check that each task succeeds without faults.

        Two tries in succession must return the same resource.
        """
        if not self.oracle:
            return
        self.advance_clock(1000)
        self.lag = 0
        for which_task, task in enumerate(self.tasks):
            if task.tries:
                # A retry whose arguments rendered differently reuses a resource that a cleared task would not: ignore its result.
                results = [self._try(which_task, "does not wait") for _ in range(3 if task.unstable else 2)]
                for outcome in results:
                    self.oracle.require_reason(task, outcome.error)
                first, second = results[-2:]
                # If an overdue commit led to two, a retry reuses the one of its own sequence, and a cleared task the newest.
                is_same = first.result == second.result or self.oracle.overdue[task.creator] > 0
                assert is_same, f"not the same: {first.result}, {second.result}"
        self.advance_clock(1000)
        self.at_most_one_is_live()


def build_machine(place: Laboratory, *names: str) -> type[AtMostOne]:
    """
    Build the state machine for a laboratory.

    :param names: Names of the kinds of resources that examples use; all kinds if none is given.
    """

    class Machine(AtMostOne):
        laboratory = place
        kinds = names or tuple(KINDS)

    return Machine
