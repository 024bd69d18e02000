"""What became of all tasks, compared with what is there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.helpers.deployment import ROOT
from tests.survival.cases import LATE, LOST, RESET, UNANSWERED, UNSETTLED
from tests.survival.create_operators import Made
from tests.survival.runner import Lane, Life, operation_name

#: Suffix of a name under which something is made when the name itself is taken.
_SUFFIX = "-retry-"


@dataclass
class Fate:
    """
    A task, and all that its run has made.

    :param lane: Where it lived.
    :param life: What became of it.
    :param made: What is there of it.
    """

    lane: Lane
    life: Life
    made: list[Made]

    def wrongs(self) -> list[str]:
        """What is not as it should be."""
        wrongs = {
            "it did not succeed": self.life.outcome == "success",
            "there is not one, but one": len(self.made) == 1,
            "its result is something else": [found.identity for found in self.made]
            == [self.life.xcom.get("return_value")],
            "it is not ready": {found.status for found in self.made} == {"ACTIVE"},
            "its name is another": {found.name for found in self.made} == {self.life.case.name},
            "SIGTERM was not heard": self.life.heard or not self._was_told_to_end,
            "it failed otherwise": self._failed_as_expected,
        }
        return [f"{wrong}: {self}" for wrong, right in wrongs.items() if not right]

    @property
    def _failed_as_expected(self) -> bool:
        """How often a try ended with an error; on a slow machine, a commit may be later than the try that waits for it."""
        number, fault = len(self.life.errors), self.life.case.fault
        return number == (fault in UNSETTLED) or (fault == LATE and number == 1)

    @property
    def _was_told_to_end(self) -> bool:
        return any(how.startswith("SIGTERM") and "trigger" not in step for step, how in self.life.strikes)


@dataclass
class Fates:
    """
    Those of all tasks.

    :param all: One for each.
    :param orphans: What is there and of no task.
    :param calls: What each lane has called: operation and status, 0 for an answer that was lost.
    """

    all: list[Fate]
    orphans: list[Made]
    calls: dict[str, list[tuple[str, int]]]

    @property
    def duplicates(self) -> int:
        """How many were made too much."""
        return sum(max(0, len(fate.made) - 1) for fate in self.all)

    @property
    def kills(self) -> Counter[tuple[str, str]]:
        """Kills by step and signal."""
        return Counter((step, how) for fate in self.all for step, how in fate.life.strikes)

    @property
    def lost(self) -> Counter[str]:
        """Answers and requests that were lost, by the emulator's own journal."""
        dropped = sum(status == 0 for calls in self.calls.values() for _, status in calls)
        requests = sum(fate.life.case.fault == RESET for fate in self.all)
        return Counter({LOST: dropped - requests, RESET: requests})

    def figures(self) -> str:
        """All of it in figures."""
        right = sum(not fate.wrongs() for fate in self.all)
        lines = [f"{self.kills.total():5} kills, of them"]
        lines += [f"{number:9} {step}: {how}" for (step, how), number in sorted(self.kills.items())]
        lines += [f"{number:5} times {what}" for what, number in self.lost.items()]
        lines += [f"{self.duplicates:5} duplicates, {len(self.orphans)} orphans, {right}/{len(self.all)} tasks right"]
        return "\n".join(lines)


def lived(lanes: list[Lane], place: Path) -> Fates:
    """
    Live all lanes, and look at what is there.

    :param place: Folder for what is kept.
    """
    plan, log = place / "plan.json", place / "lanes.log"
    plan.write_text(json.dumps([asdict(lane) for lane in lanes]))
    with log.open("wb") as output:
        command = [sys.executable, "-m", "tests.survival.runner", str(plan)]
        subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=True)
    assert all(lane.file.exists() for lane in lanes), log.read_text()[-5000:]
    fates, orphans = [], []
    for lane in lanes:
        lives = lane.lives()
        made = _made(lane, lives)
        fates += [Fate(lane, life, [found for found in made if _is_of(found, life)]) for life in lives]
        orphans += [found for found in made if not any(_is_of(found, life) for life in lives)]
    return Fates(fates, orphans, {str(lane.file.stem): _calls(lane) for lane in lanes})


def _made(lane: Lane, lives: Iterable[Life]) -> list[Made]:
    """What is there but what the tasks needed themselves."""
    asked = {json.dumps(life.arguments, sort_keys=True): life.arguments for life in lives}
    # Most listings tell what is in the account, whatever the arguments.
    found = {json.dumps(made.identity): made for given in asked.values() for made in lane.maker.made(lane.world, given)}
    return [made for made in found.values() if made.name.startswith("case-") or made.run]


def _is_of(made: Made, life: Life) -> bool:
    """Whether something is of the run of a task: by its tag, or by its name where it has none."""
    name = life.case.name
    if made.run is not None:
        return made.run == f"dag/run of {name}/{name}/-1"
    return made.name == name or made.name.startswith(f"{name}{_SUFFIX}")


def _calls(lane: Lane) -> list[tuple[str, int]]:
    entries = lane.world.emulator._control(f"requests?account={lane.account}")["requests"]
    return [(entry["operation"], entry["status"]) for entry in entries]


def planned_losses(fates: Fates) -> int:
    """How many answers the emulator was told to lose."""
    return sum(fate.life.case.fault in UNANSWERED for fate in fates.all)


def create_of(lane: Lane) -> str:
    """The operation that a lane's tasks are about."""
    return operation_name(lane.maker.operator.service, lane.title)
