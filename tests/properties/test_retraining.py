"""
Weekly retraining, its runs and tasks cleared in any order: what is in service is the newest good week, or what a roll-back chose.

The tasks are those of ``example_weekly_retraining``, without an Airflow: a task whose upstream was not successful is not executed.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowSkipException
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from airflow_cleanroomsml.emulator.faults import Fault
from airflow_cleanroomsml.emulator.store import Record
from airflow_cleanroomsml.exceptions import CleanRoomsMLError
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCheckAudienceModelAgeOperator,
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLPromoteAudienceModelOperator,
    CleanRoomsMLPruneAudienceModelsOperator,
)
from tests.properties.examples import chosen
from tests.properties.observed_emulator import Laboratory
from tests.support import TaskInstance

TASKS = ("check", "train", "promote", "prune")
KEEP = 2
WEEK = timedelta(weeks=1)


@dataclass
class Run:
    """
    A run of the Dag.

    :param week: Number of its week, from 1.
    """

    week: int
    states: dict[str, str] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)
    #: What ``train`` has returned.
    model: str | None = None

    def may_execute(self, task: str) -> bool:
        """Whether all that comes before a task was successful."""
        place = TASKS.index(task)
        return place == 0 or self.states.get(TASKS[place - 1]) == "success"


class Retraining(RuleBasedStateMachine):
    """One configured audience model, and the runs that train for it."""

    laboratory: Laboratory

    @initialize()
    def begin(self) -> None:
        lab = self.laboratory
        lab.begin(pending_seconds=1, progress_seconds=60, delete_seconds=2)
        self.began = datetime.fromtimestamp(lab.clock.now(), timezone.utc)
        self.runs: list[Run] = []
        self.others = {record.arn for record in self._records()}
        self.terms = lab.configured
        #: The newest week that has been put into service since the last roll-back.
        self.floor = 0
        self.rollbacks: list[tuple[str, str]] = []

    def _records(self) -> list[Record]:
        store = self.laboratory.emulator.shared.store
        return [record for record in store.find("audience-model") if not record.status.startswith("DELETE_")]

    def _week(self, arn: str) -> int:
        """The week of a model; 0 for what the Dag has not trained."""
        (record,) = [record for record in self._records() if record.arn == arn]
        end = record.fields.get("trainingDataEndTime")
        return round((end - self.began) / WEEK) if end else 0

    @property
    def _in_service(self) -> str:
        asked = {"configured_audience_model_arn": self.terms}
        return str(self.laboratory.hook.call("get_configured_audience_model", asked)["audienceModelArn"])

    def _own(self) -> list[Record]:
        """The Dag's models that can serve, the newest last."""
        own = [record for record in self._records() if record.arn not in self.others and record.status == "ACTIVE"]
        return sorted(own, key=lambda record: (record.fields["trainingDataEndTime"], record.lifecycle.created_at))

    def _operator(self, run: Run, task: str) -> Any:
        end = self.began + run.week * WEEK
        if task == "check":
            return CleanRoomsMLCheckAudienceModelAgeOperator(
                task_id=task, configured_audience_model_arn=self.terms, training_data_end_time=end
            )
        if task == "train":
            return CleanRoomsMLCreateAudienceModelOperator(
                task_id=task,
                name=f"weekly-{run.week}",
                training_dataset_arn=self.laboratory.dataset,
                training_data_start_time=end - WEEK,
                training_data_end_time=end,
                if_exists="reuse",
                deferrable=False,
            )
        if task == "promote":
            return CleanRoomsMLPromoteAudienceModelOperator(
                task_id=task, configured_audience_model_arn=self.terms, audience_model_arn=run.model or ""
            )
        return CleanRoomsMLPruneAudienceModelsOperator(
            task_id=task,
            keep=KEEP,
            training_dataset_arn=self.laboratory.dataset,
            name_prefix="weekly-",
            not_newer_than=run.model,
        )

    def _execute(self, run: Run, task: str) -> None:
        if not run.may_execute(task):
            run.states[task] = "not executed"
            return
        run.tries[task] = run.tries.get(task, 0) + 1
        ti = TaskInstance(f"week-{run.week}", run.tries[task])
        ti.task_id = task
        # Each try is a clear: this Dag has no retries.
        ti.max_tries = run.tries[task] - 1
        operator = self._operator(run, task)
        vars(operator)["hook"] = self.laboratory.hook
        try:
            result = operator.execute({"params": {}, "ti": ti})
        except AirflowSkipException:
            run.states[task] = "skipped"
            return
        except AirflowException:
            run.states[task] = "failed"
            return
        run.states[task] = "success"
        if task == "train":
            run.model = result
        elif task == "promote":
            self.floor = max(self.floor, run.week)

    def _runs(self, run: Run, *tasks: str) -> None:
        for task in TASKS:
            if task not in tasks:
                continue
            if task == "train":
                run.model = None
            before = self._own()
            run.states.pop(task, None)
            self._execute(run, task)
            if task == "prune" and run.states[task] == "success":
                self._require_modest(run, before)

    def _require_modest(self, run: Run, before: list[Record]) -> None:
        """What a prune has deleted is none of the newest, none that is in service, and none that is newer than its run's."""
        deleted = {record.arn for record in before} - {record.arn for record in self._records()}
        newest = {record.arn for record in before[-KEEP:]}
        assert not deleted & newest
        assert all(
            round((r.fields["trainingDataEndTime"] - self.began) / WEEK) <= run.week for r in before if r.arn in deleted
        )
        # And it has left none that it need not keep, if the run is the newest.
        if run.week == max(each.week for each in self.runs):
            kept = [record for record in self._own() if record.arn not in newest]
            assert all(record.arn == self._in_service or self._is_used(record) for record in kept)

    def _is_used(self, record: Record) -> bool:
        store = self.laboratory.emulator.shared.store
        return any(store.find("configured-audience-model", audienceModelArn=record.arn))

    @rule(fails=st.sampled_from([False, False, False, True]), tasks=st.integers(1, len(TASKS)))
    def a_week_passes(self, fails: bool, tasks: int) -> None:
        """
        And its run begins.

        :param tasks: After how many tasks Airflow goes down.
        """
        run = Run(len(self.runs) + 1)
        self.runs.append(run)
        ahead = (self.began + run.week * WEEK).timestamp() - self.laboratory.clock.now()
        self.laboratory.clock.advance(max(1.0, ahead))
        self.laboratory.order(*[Fault("CreateAudienceModel", "fail_job")] * fails)
        self._runs(run, *TASKS[:tasks])
        self.laboratory.order()

    @precondition(lambda self: self.runs)
    @rule(which=st.integers(0, 20), tasks=st.sets(st.sampled_from(TASKS), min_size=1))
    def tasks_are_cleared(self, which: int, tasks: set[str]) -> None:
        """Of any run; one that is cleared whole pays for nothing if it has nothing new."""
        run = self.runs[which % len(self.runs)]
        served, made = self._week(self._in_service), self._trainings()
        self._runs(run, *tasks)
        if "check" in tasks and run.week <= served:
            assert self._trainings() == made

    @precondition(lambda self: self.runs)
    @rule(which=st.integers(0, 20))
    def a_training_is_cleared_with_all_that_follows(self, which: int) -> None:
        """As Airflow's pages do it by default: without the check before it, a week that is over may be trained again."""
        self._runs(self.runs[which % len(self.runs)], "train", "promote", "prune")

    def _trainings(self) -> int:
        return max(
            (record.sequence for record in self.laboratory.emulator.shared.store.find("audience-model")), default=0
        )

    @precondition(lambda self: self._own())
    @rule(which=st.integers(0, 20))
    def is_rolled_back(self, which: int) -> None:
        """To any model that is there."""
        own = self._own()
        self._roll_back(own[which % len(own)].arn, self._in_service)

    @precondition(lambda self: self.rollbacks)
    @rule(which=st.integers(0, 20))
    def a_roll_back_is_cleared(self, which: int) -> None:
        self._roll_back(*self.rollbacks[which % len(self.rollbacks)])

    def _roll_back(self, model: str, instead_of: str) -> None:
        before = self._in_service
        operator = CleanRoomsMLPromoteAudienceModelOperator(
            task_id="roll_back",
            configured_audience_model_arn=self.terms,
            audience_model_arn=model,
            instead_of=instead_of,
        )
        vars(operator)["hook"] = self.laboratory.hook
        context: Any = {"params": {}, "ti": TaskInstance()}
        with suppress(CleanRoomsMLError):
            # The model may be gone by now.
            operator.execute(context)
        after = self._in_service
        assert after in ({model, before} if before == instead_of else {before})
        if after != before:
            self.floor = self._week(model)
        self.rollbacks.append((model, instead_of))

    @precondition(lambda self: self._own())
    @rule(which=st.integers(0, 20))
    def somebody_uses_one_elsewhere(self, which: int) -> None:
        own, lab = self._own(), self.laboratory
        lab.world.ml.create_configured_audience_model(
            name=f"elsewhere-{lab.clock.now()}",
            audienceModelArn=own[which % len(own)].arn,
            outputConfig=lab.world.output,
            sharedAudienceMetrics=["ALL"],
        )
        lab.clock.advance(1)

    @precondition(lambda self: self._own())
    @rule(which=st.integers(0, 20))
    def somebody_deletes_one(self, which: int) -> None:
        """If nobody uses it."""
        own, lab = self._own(), self.laboratory
        with suppress(CleanRoomsMLError):
            lab.hook.call("delete_audience_model", {"audience_model_arn": own[which % len(own)].arn})

    @invariant()
    def what_is_in_service_is_there_and_new(self) -> None:
        if not hasattr(self, "runs"):
            return
        assert self._in_service in {record.arn for record in self._records() if record.status == "ACTIVE"}
        assert self._week(self._in_service) >= self.floor
        assert self.others <= {record.arn for record in self._records()}


@pytest.mark.timeout(0)
def test_what_is_in_service_is_never_older_than_the_newest_good_week(laboratory: Laboratory) -> None:
    class Machine(Retraining):
        pass

    Machine.laboratory = laboratory
    run_state_machine_as_test(Machine, settings=chosen(0.1))
