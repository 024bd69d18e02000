"""
Weekly retraining, with runs and tasks cleared in any order: the model in service is never older than it should be.

It is of the newest successful week, or the one that a roll-back chose. The tasks are those of ``example_weekly_retraining``, without
Airflow: a task runs only if the task before it succeeded.
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
from tests.properties.examples import build_settings
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
    #: The result of ``train``.
    model: str | None = None

    def may_execute(self, task: str) -> bool:
        """Whether the task before this one succeeded."""
        index = TASKS.index(task)
        return index == 0 or self.states.get(TASKS[index - 1]) == "success"


class Retraining(RuleBasedStateMachine):
    """One configured audience model, and the runs that train models for it."""

    laboratory: Laboratory

    @initialize()
    def begin(self) -> None:
        lab = self.laboratory
        lab.begin(pending_seconds=1, progress_seconds=60, delete_seconds=2)
        self.started_at = datetime.fromtimestamp(lab.clock.now(), timezone.utc)
        self.runs: list[Run] = []
        self.preexisting = {record.arn for record in self._list_models()}
        self.configured_model = lab.configured
        #: The newest week that was promoted since the last roll-back, or the week that it chose.
        self.oldest_allowed_week = 0
        self.rollbacks: list[tuple[str, str]] = []

    def _list_models(self) -> list[Record]:
        store = self.laboratory.emulator.shared.store
        return [record for record in store.find("audience-model") if not record.status.startswith("DELETE_")]

    def _find_week(self, arn: str) -> int:
        """The week of a model; 0 if the Dag did not train it."""
        (record,) = [record for record in self._list_models() if record.arn == arn]
        end = record.fields.get("trainingDataEndTime")
        return round((end - self.started_at) / WEEK) if end else 0

    @property
    def _model_in_service(self) -> str:
        arguments = {"configured_audience_model_arn": self.configured_model}
        return str(self.laboratory.hook.call("get_configured_audience_model", arguments)["audienceModelArn"])

    def _list_own(self) -> list[Record]:
        """The Dag's active models, newest last."""
        own = [
            record for record in self._list_models() if record.arn not in self.preexisting and record.status == "ACTIVE"
        ]
        return sorted(own, key=lambda record: (record.fields["trainingDataEndTime"], record.lifecycle.created_at))

    def _build_operator(self, run: Run, task: str) -> Any:
        end = self.started_at + run.week * WEEK
        if task == "check":
            return CleanRoomsMLCheckAudienceModelAgeOperator(
                task_id=task, configured_audience_model_arn=self.configured_model, training_data_end_time=end
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
                task_id=task, configured_audience_model_arn=self.configured_model, audience_model_arn=run.model or ""
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
        operator = self._build_operator(run, task)
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
            self.oldest_allowed_week = max(self.oldest_allowed_week, run.week)

    def _run_tasks(self, run: Run, *tasks: str) -> None:
        for task in TASKS:
            if task not in tasks:
                continue
            if task == "train":
                run.model = None
            before = self._list_own()
            run.states.pop(task, None)
            self._execute(run, task)
            if task == "prune" and run.states[task] == "success":
                self._require_careful_prune(run, before)

    def _require_careful_prune(self, run: Run, before: list[Record]) -> None:
        """A prune deleted none of the newest models, no model in service and no model newer than its run's week."""
        deleted = {record.arn for record in before} - {record.arn for record in self._list_models()}
        newest = {record.arn for record in before[-KEEP:]}
        assert not deleted & newest
        assert all(
            round((r.fields["trainingDataEndTime"] - self.started_at) / WEEK) <= run.week
            for r in before
            if r.arn in deleted
        )
        # In the newest run, it left only models that it has to keep.
        if run.week == max(other.week for other in self.runs):
            kept = [record for record in self._list_own() if record.arn not in newest]
            assert all(record.arn == self._model_in_service or self._is_used(record) for record in kept)

    def _is_used(self, record: Record) -> bool:
        store = self.laboratory.emulator.shared.store
        return any(store.find("configured-audience-model", audienceModelArn=record.arn))

    @rule(job_fails=st.sampled_from([False, False, False, True]), task_count=st.integers(1, len(TASKS)))
    def begin_week(self, job_fails: bool, task_count: int) -> None:
        """
        Let a week pass, and start its run.

        :param task_count: Number of tasks after which Airflow goes down.
        """
        run = Run(len(self.runs) + 1)
        self.runs.append(run)
        remaining = (self.started_at + run.week * WEEK).timestamp() - self.laboratory.clock.now()
        self.laboratory.clock.advance(max(1.0, remaining))
        self.laboratory.set_faults(*[Fault("CreateAudienceModel", "fail_job")] * job_fails)
        self._run_tasks(run, *TASKS[:task_count])
        self.laboratory.set_faults()

    @precondition(lambda self: self.runs)
    @rule(which=st.integers(0, 20), tasks=st.sets(st.sampled_from(TASKS), min_size=1))
    def clear_tasks(self, which: int, tasks: set[str]) -> None:
        """Clear tasks of any run. If its check is among them, a week that is not newer than the one in service is not trained again."""
        run = self.runs[which % len(self.runs)]
        week_in_service, trainings = self._find_week(self._model_in_service), self._count_trainings()
        self._run_tasks(run, *tasks)
        if "check" in tasks and run.week <= week_in_service:
            assert self._count_trainings() == trainings

    @precondition(lambda self: self.runs)
    @rule(which=st.integers(0, 20))
    def clear_training_and_downstream(self, which: int) -> None:
        """Clear as Airflow's UI does by default. Without the check, a past week may be trained again."""
        self._run_tasks(self.runs[which % len(self.runs)], "train", "promote", "prune")

    def _count_trainings(self) -> int:
        return max(
            (record.sequence for record in self.laboratory.emulator.shared.store.find("audience-model")), default=0
        )

    @precondition(lambda self: self._list_own())
    @rule(which=st.integers(0, 20))
    def roll_back(self, which: int) -> None:
        """Roll back to any existing model."""
        own = self._list_own()
        self._roll_back(own[which % len(own)].arn, self._model_in_service)

    @precondition(lambda self: self.rollbacks)
    @rule(which=st.integers(0, 20))
    def clear_roll_back(self, which: int) -> None:
        self._roll_back(*self.rollbacks[which % len(self.rollbacks)])

    def _roll_back(self, model: str, instead_of: str) -> None:
        before = self._model_in_service
        operator = CleanRoomsMLPromoteAudienceModelOperator(
            task_id="roll_back",
            configured_audience_model_arn=self.configured_model,
            audience_model_arn=model,
            instead_of=instead_of,
        )
        vars(operator)["hook"] = self.laboratory.hook
        context: Any = {"params": {}, "ti": TaskInstance()}
        with suppress(CleanRoomsMLError):
            # The model may have been deleted in the meantime.
            operator.execute(context)
        after = self._model_in_service
        assert after in ({model, before} if before == instead_of else {before})
        if after != before:
            self.oldest_allowed_week = self._find_week(model)
        self.rollbacks.append((model, instead_of))

    @precondition(lambda self: self._list_own())
    @rule(which=st.integers(0, 20))
    def use_model_elsewhere(self, which: int) -> None:
        own, lab = self._list_own(), self.laboratory
        lab.world.ml.create_configured_audience_model(
            name=f"elsewhere-{lab.clock.now()}",
            audienceModelArn=own[which % len(own)].arn,
            outputConfig=lab.world.output,
            sharedAudienceMetrics=["ALL"],
        )
        lab.clock.advance(1)

    @precondition(lambda self: self._list_own())
    @rule(which=st.integers(0, 20))
    def try_to_delete_model(self, which: int) -> None:
        """Delete a model, if nothing uses it."""
        own, lab = self._list_own(), self.laboratory
        with suppress(CleanRoomsMLError):
            lab.hook.call("delete_audience_model", {"audience_model_arn": own[which % len(own)].arn})

    @invariant()
    def model_in_service_exists_and_is_new(self) -> None:
        if not hasattr(self, "runs"):
            return
        assert self._model_in_service in {record.arn for record in self._list_models() if record.status == "ACTIVE"}
        assert self._find_week(self._model_in_service) >= self.oldest_allowed_week
        assert self.preexisting <= {record.arn for record in self._list_models()}


@pytest.mark.timeout(0)
def test_model_in_service_is_never_too_old(laboratory: Laboratory) -> None:
    class Machine(Retraining):
        pass

    Machine.laboratory = laboratory
    run_state_machine_as_test(Machine, settings=build_settings(0.1))
