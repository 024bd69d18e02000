"""Many mapped tasks start jobs at once, under the rates and quotas that AWS publishes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_cleanroomsml._compat import IS_AIRFLOW_2
from airflow_cleanroomsml.operators import CleanRoomsMLStartAudienceGenerationJobOperator
from tests.helpers.concurrent_tasks import Fleet, Task
from tests.support import EmulatorProcess, TaskInstance, World

JOBS = 16


@pytest.fixture(scope="module")
def strict_emulator() -> Iterator[EmulatorProcess]:
    """An emulator that throttles; its jobs take four seconds."""
    process = EmulatorProcess(
        "--scale", "0.001", "--pending-seconds", "0", "--progress-seconds", "4", "--published-rates"
    )
    yield process
    process.stop()


# The pauses have their real length, because the emulator counts calls per second of its own clock.
@pytest.mark.skipif(IS_AIRFLOW_2, reason="Airflow 2.11 guards execute() by what it keeps in the main thread")
def test_mapped_starts_take_turns(strict_emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(strict_emulator)
    monkeypatch.setenv("AWS_ENDPOINT_URL", strict_emulator.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", world.account)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    world.build()
    model: str = world.create_configured_model()
    seed: Any = world.write_seed()
    before = len(world.calls)

    def build_task(index: int) -> Task:
        ti = TaskInstance("run")
        ti.map_index = index
        return Task(
            lambda: CleanRoomsMLStartAudienceGenerationJobOperator(
                task_id="task",
                name=f"job-{index}",
                configured_audience_model_arn=model,
                seed_audience=seed,
                deferrable=True,
                waiter_delay=2,
                waiter_max_attempts=100,
            ),
            ti,
        )

    tasks = [build_task(index) for index in range(JOBS)]
    Fleet(8).run(tasks)
    assert [task.error for task in tasks] == [None] * JOBS
    assert len({task.result for task in tasks}) == JOBS
    statuses = Counter(strict_emulator.list_statuses(world.account)[before:])
    assert statuses[429] <= 0.05 * statuses.total(), statuses
    assert statuses[402] <= JOBS
