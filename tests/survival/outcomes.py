"""The outcomes of all tasks, compared with the resources that exist."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.helpers.deployment import ROOT
from tests.survival.cases import FAIL_TRY, IN_TRIGGER, LATE, LOSE_RESPONSE, LOST, RESET, TERM
from tests.survival.create_operators import CreatedResource
from tests.survival.runner import Lane, TaskRun, operation_name

#: Precedes the suffix of the name that a retry uses when its own name is taken.
_SUFFIX = "-retry-"


@dataclass
class Outcome:
    """
    A task run, and all resources that it created.

    :param lane: The lane in which it ran.
    :param task_run: What happened in it.
    :param resources: Its resources.
    """

    lane: Lane
    task_run: TaskRun
    resources: list[CreatedResource]

    def find_problems(self) -> list[str]:
        """Find every difference from the expected outcome."""
        checks = {
            "the task did not succeed": self.task_run.outcome == "success",
            "there is not exactly one resource": len(self.resources) == 1,
            "the result does not identify the resource": [resource.identity for resource in self.resources]
            == [self.task_run.xcom.get("return_value")],
            "the resource is not active": {resource.status for resource in self.resources} == {"ACTIVE"},
            "the resource has another name": {resource.name for resource in self.resources}
            == {self.task_run.case.name},
            "on_kill was not called after SIGTERM": self.task_run.is_on_kill_called or not self._got_sigterm,
            "an unexpected number of tries failed": self._has_expected_errors,
        }
        return [f"{problem}: {self}" for problem, is_good in checks.items() if not is_good]

    @property
    def _has_expected_errors(self) -> bool:
        """Whether as many tries failed as expected; on a slow machine, a commit can come after the try that waits for it."""
        number, fault = len(self.task_run.errors), self.task_run.case.fault
        return number == (fault in FAIL_TRY) or (fault == LATE and number == 1)

    @property
    def _got_sigterm(self) -> bool:
        return any(signal == TERM and step != IN_TRIGGER for step, signal in self.task_run.kills)


@dataclass
class Outcomes:
    """
    The outcomes of all tasks.

    :param all: One outcome for each task.
    :param orphans: Resources that belong to no task.
    :param calls: The calls of each lane: operation and status, 0 for a lost response.
    """

    all: list[Outcome]
    orphans: list[CreatedResource]
    calls: dict[str, list[tuple[str, int]]]

    @property
    def duplicates(self) -> int:
        """Number of resources in excess of one per task."""
        return sum(max(0, len(outcome.resources) - 1) for outcome in self.all)

    @property
    def kills(self) -> Counter[tuple[str, str]]:
        """Kills by step and signal."""
        return Counter((step, signal) for outcome in self.all for step, signal in outcome.task_run.kills)

    @property
    def losses(self) -> Counter[str]:
        """Number of lost responses and requests, from the emulator's log of requests."""
        dropped = sum(status == 0 for calls in self.calls.values() for _, status in calls)
        requests = sum(outcome.task_run.case.fault == RESET for outcome in self.all)
        return Counter({LOST: dropped - requests, RESET: requests})

    def format_figures(self) -> str:
        """Format the numbers of kills, losses, duplicates and orphans."""
        good = sum(not outcome.find_problems() for outcome in self.all)
        lines = [f"{self.kills.total():5} kills, of them"]
        lines += [f"{number:9} {step}: {signal}" for (step, signal), number in sorted(self.kills.items())]
        lines += [f"{number:5} times {what}" for what, number in self.losses.items()]
        lines += [f"{self.duplicates:5} duplicates, {len(self.orphans)} orphans, {good}/{len(self.all)} tasks correct"]
        return "\n".join(lines)


def run_lanes(lanes: list[Lane], folder: Path) -> Outcomes:
    """
    Run all lanes, and find the resources that they created.

    :param folder: Folder for the files of the run.
    """
    plan, log = folder / "plan.json", folder / "lanes.log"
    plan.write_text(json.dumps([asdict(lane) for lane in lanes]))
    with log.open("wb") as output:
        command = [sys.executable, "-m", "tests.survival.runner", str(plan)]
        subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=True)
    assert all(lane.file.exists() for lane in lanes), log.read_text()[-5000:]
    outcomes, orphans = [], []
    for lane in lanes:
        task_runs = lane.read_task_runs()
        resources = _list_resources(lane, task_runs)
        outcomes += [
            Outcome(lane, task_run, [resource for resource in resources if _belongs_to(resource, task_run)])
            for task_run in task_runs
        ]
        orphans += [
            resource for resource in resources if not any(_belongs_to(resource, task_run) for task_run in task_runs)
        ]
    return Outcomes(outcomes, orphans, {str(lane.file.stem): _list_calls(lane) for lane in lanes})


def _list_resources(lane: Lane, task_runs: Iterable[TaskRun]) -> list[CreatedResource]:
    """List the resources of a lane, except those that were created for its tasks to use."""
    distinct = {json.dumps(task_run.arguments, sort_keys=True): task_run.arguments for task_run in task_runs}
    # Most listings return all resources of the account, regardless of the arguments.
    resources = {
        json.dumps(resource.identity): resource
        for arguments in distinct.values()
        for resource in lane.setup.list_resources(lane.world, arguments)
    }
    return [resource for resource in resources.values() if resource.name.startswith("case-") or resource.run]


def _belongs_to(resource: CreatedResource, task_run: TaskRun) -> bool:
    """Whether a task run created the resource: by its tag, or by its name if it has no tags."""
    name = task_run.case.name
    if resource.run is not None:
        return resource.run == f"dag/run of {name}/{name}/-1"
    return resource.name == name or resource.name.startswith(f"{name}{_SUFFIX}")


def _list_calls(lane: Lane) -> list[tuple[str, int]]:
    entries = lane.world.emulator._control(f"requests?account={lane.account}")["requests"]
    return [(entry["operation"], entry["status"]) for entry in entries]


def count_planned_losses(outcomes: Outcomes) -> int:
    """Count the responses that the emulator was configured to lose."""
    return sum(outcome.task_run.case.fault in LOSE_RESPONSE for outcome in outcomes.all)


def find_create_operation(lane: Lane) -> str:
    """Return the API's name of the create operation that a lane tests."""
    return operation_name(lane.setup.operator.service, lane.title)
