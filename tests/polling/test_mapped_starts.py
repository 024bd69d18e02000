"""Many starts at once, at the rates and quotas that AWS publishes."""

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
def strict() -> Iterator[EmulatorProcess]:
    """An emulator that throttles; its jobs take four seconds."""
    process = EmulatorProcess(
        "--scale", "0.001", "--pending-seconds", "0", "--progress-seconds", "4", "--published-rates"
    )
    yield process
    process.stop()


# The pauses are not made shorter: the emulator counts calls a second of its own clock.
@pytest.mark.skipif(IS_AIRFLOW_2, reason="Airflow 2.11 guards execute() by what it keeps in the main thread")
def test_mapped_starts_take_turns(strict: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(strict)
    monkeypatch.setenv("AWS_ENDPOINT_URL", strict.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", world.account)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    world.build()
    model: str = world.create_configured_model()
    seed: Any = world.write_seed()
    before = len(world.calls)

    def task(index: int) -> Task:
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

    tasks = [task(index) for index in range(JOBS)]
    Fleet(8).run(tasks)
    assert [task.error for task in tasks] == [None] * JOBS
    assert len({task.result for task in tasks}) == JOBS
    answers = Counter(strict.list_statuses(world.account)[before:])
    assert answers[429] <= 0.05 * answers.total(), answers
    assert answers[402] <= JOBS
