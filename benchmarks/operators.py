"""Operators: what importing them costs, what a create costs beside plain boto3, and 200 mapped jobs at AWS's rates and quotas."""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import boto3

from airflow_cleanroomsml.operators import (
    CleanRoomsMLCreateTrainedModelOperator,
    CleanRoomsMLStartAudienceGenerationJobOperator,
)
from benchmarks.table import Row, below, part
from tests.helpers.concurrent_tasks import Fleet, Task
from tests.helpers.custom_models import Studio
from tests.support import REGION, EmulatorProcess, TaskInstance, World

OURS, PEER = "airflow_cleanroomsml.operators", "airflow.providers.amazon.aws.operators.bedrock"
_IMPORT = """
import time
from airflow.sdk import DAG, BaseOperator
begin = time.perf_counter()
import {}
print(time.perf_counter() - begin)
"""
JOBS = 200


def imports() -> Iterator[Row]:
    """What the Dag processor pays for a Dag file's import, beside Airflow itself; the two in turn, medians, once both are compiled."""
    ours, peer = [], []
    _import_time(OURS)
    _import_time(PEER)
    for _ in range(15):
        ours.append(_import_time(OURS))
        peer.append(_import_time(PEER))
    yield part(
        "import of the operators (peer: amazon's bedrock), s", statistics.median(ours), statistics.median(peer), 10
    )


def _import_time(module: str) -> float:
    command = [sys.executable, "-c", _IMPORT.format(module)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout.split()[-1])


@contextmanager
def _account(*options: str) -> Iterator[World]:
    """An account in an emulator of its own, to which boto3 leads."""
    process = EmulatorProcess("--scale", "0.001", "--pending-seconds", "0", *options)
    world = World(process)
    led = {
        "AWS_ENDPOINT_URL": process.url,
        "AWS_ACCESS_KEY_ID": world.account,
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AIRFLOW_CONN_AWS_DEFAULT": '{"conn_type": "aws"}',
    }
    before = dict(os.environ)
    os.environ.update(led)
    try:
        yield world.build()
    finally:
        os.environ.clear()
        os.environ.update(before)
        process.stop()


def create() -> Iterator[Row]:
    """``execute()`` of a create that finds its model done, beside the same two calls of boto3; client included, the two in turn."""
    with _account("--progress-seconds", "0") as world:
        studio = Studio(world)
        common = studio.training("first")
        by_task: list[float] = []
        by_hand: list[float] = []
        for number in range(40):
            operator = CleanRoomsMLCreateTrainedModelOperator(**{**common, "name": f"task-{number}"})
            context: Any = {"ti": TaskInstance()}
            by_task.append(_timed(partial(operator.execute, context)))
            by_hand.append(_timed(partial(_by_hand, studio, common, f"hand-{number}")))
    ours, peer = statistics.median(by_task), statistics.median(by_hand)
    yield Row("a create task, execute() only (peer: two calls of boto3), s", ours, peer, "≤ 1.2", ours <= 1.2 * peer)


def _by_hand(studio: Studio, common: dict[str, Any], name: str) -> None:
    client: Any = boto3.session.Session().client("cleanroomsml")
    made = client.create_trained_model(
        **studio.of,
        name=name,
        configuredModelAlgorithmAssociationArn=common["configured_model_algorithm_association_arn"],
        resourceConfig=common["resource_config"],
        dataChannels=common["data_channels"],
    )
    client.get_trained_model(**studio.of, trainedModelArn=made["trainedModelArn"])


def _timed(work: Callable[[], object]) -> float:
    # A full collection takes as long as the work, and would fall to one side by chance.
    gc.collect()
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def mapped() -> Iterator[Row]:
    """200 mapped generation jobs of five seconds, started at once by eight workers: one start a second, ten jobs at a time."""
    with _account("--progress-seconds", "5", "--published-rates") as world:
        model, seed = world.configured(), world.seed()
        before = len(world.calls)
        tasks = [_mapped(index, model, seed) for index in range(JOBS)]
        begin = time.perf_counter()
        Fleet(8).run(tasks)
        seconds = time.perf_counter() - begin
        answers = Counter(world.emulator.answers(world.account)[before:])
    right = len({task.result for task in tasks if task.error is None})
    yield Row("200 mapped jobs: that succeed", right, None, "200", right == JOBS)
    yield below("200 mapped jobs: calls throttled, %", 100 * answers[429] / answers.total(), 5)
    yield Row("200 mapped jobs: calls in all", answers.total())
    yield Row("200 mapped jobs: starts refused for a full quota", answers[402])
    yield Row("200 mapped jobs: seconds (peer: one start a second)", seconds, JOBS)


def _mapped(index: int, model: str, seed: dict[str, Any]) -> Task:
    ti = TaskInstance("run")
    ti.map_index = index
    given: dict[str, Any] = {
        "configured_audience_model_arn": model,
        "seed_audience": seed,
        "deferrable": True,
        "waiter_delay": 5,
    }
    return Task(
        lambda: CleanRoomsMLStartAudienceGenerationJobOperator(task_id="task", name=f"job-{index}", **given), ti
    )
