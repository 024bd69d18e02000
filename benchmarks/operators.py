"""Benchmarks of the operators: their import, a create compared with plain boto3, and 200 mapped jobs with AWS's rates and quotas."""

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
import pytest

from airflow_cleanroomsml.operators import (
    CleanRoomsMLCreateTrainedModelOperator,
    CleanRoomsMLStartAudienceGenerationJobOperator,
)
from benchmarks.table import Row, build_limit_row, build_ratio_row
from tests.helpers.concurrent_tasks import Fleet, Task
from tests.helpers.custom_models import Studio
from tests.support import REGION, EmulatorProcess, TaskInstance, World, keep_xcoms

#: What a Dag file imports: those of ``example_lookalike_audience``, with operators that wait and operators that do not.
SOME = (
    "from airflow_cleanroomsml.operators import CleanRoomsMLCreateAudienceModelOperator,"
    " CleanRoomsMLCreateConfiguredAudienceModelOperator, CleanRoomsMLCreateTrainingDatasetOperator,"
    " CleanRoomsMLStartAudienceExportJobOperator, CleanRoomsMLStartAudienceGenerationJobOperator"
)
ALL = "from airflow_cleanroomsml.operators import *"
PEER = "import airflow.providers.amazon.aws.operators.bedrock"
_IMPORT = """
import time
from airflow.sdk import DAG, BaseOperator
begin = time.process_time()
{}
print(time.process_time() - begin)
"""
JOBS = 200


def measure_imports() -> Iterator[Row]:
    """Measure the CPU time of imports of operators, without Airflow itself, alternating with amazon's; medians."""
    statements = (SOME, ALL, PEER)
    # The first import compiles the modules.
    rounds = [[_time_import(statement) for statement in statements] for _ in range(16)][1:]
    some, every, peer = map(statistics.median, zip(*rounds, strict=True))
    yield build_ratio_row("import of the five operators of an example (peer: amazon's bedrock): CPU, s", some, peer, 10)
    yield Row("import of all operators (peer: amazon's bedrock): CPU, s", every, peer)


def _time_import(statement: str) -> float:
    command = [sys.executable, "-c", _IMPORT.format(statement)]
    # With this variable, each process would compile the modules again.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout.split()[-1])


@contextmanager
def _run_emulator(*options: str) -> Iterator[World]:
    """Run an emulator that boto3 uses; yields an account in it."""
    process = EmulatorProcess("--scale", "0.001", "--pending-seconds", "0", *options)
    world = World(process)
    environment = {
        "AWS_ENDPOINT_URL": process.url,
        "AWS_ACCESS_KEY_ID": world.account,
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AIRFLOW_CONN_AWS_DEFAULT": '{"conn_type": "aws"}',
    }
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            keep_xcoms(patch)
            yield world.build()
    finally:
        process.stop()


def measure_create() -> Iterator[Row]:
    """Measure ``execute()`` of a create whose model is ACTIVE at once, alternating with the same two boto3 calls, with clients; medians."""
    with _run_emulator("--progress-seconds", "0") as world:
        studio = Studio(world)
        common = studio.build_training("first")
        by_task: list[float] = []
        by_hand: list[float] = []
        for number in range(40):
            operator = CleanRoomsMLCreateTrainedModelOperator(**{**common, "name": f"task-{number}"})
            context: Any = {"ti": TaskInstance()}
            by_task.append(_time_call(partial(operator.execute, context)))
            by_hand.append(_time_call(partial(_create_with_boto3, studio, common, f"hand-{number}")))
    ours, peer = statistics.median(by_task), statistics.median(by_hand)
    yield Row("a create task, execute() only (peer: two calls of boto3), s", ours, peer, "≤ 1.2", ours <= 1.2 * peer)


def _create_with_boto3(studio: Studio, common: dict[str, Any], name: str) -> None:
    client: Any = boto3.session.Session().client("cleanroomsml")
    response = client.create_trained_model(
        **studio.of,
        name=name,
        configuredModelAlgorithmAssociationArn=common["configured_model_algorithm_association_arn"],
        resourceConfig=common["resource_config"],
        dataChannels=common["data_channels"],
    )
    client.get_trained_model(**studio.of, trainedModelArn=response["trainedModelArn"])


def _time_call(work: Callable[[], object]) -> float:
    # A full garbage collection takes as long as the call, and would randomly be counted for one side.
    gc.collect()
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def measure_mapped_tasks() -> Iterator[Row]:
    """Measure 200 mapped generation jobs of five seconds in eight workers, with a rate of one start per second and a quota of ten."""
    with _run_emulator("--progress-seconds", "5", "--published-rates") as world:
        model, seed = world.create_configured_model(), world.write_seed()
        before = len(world.calls)
        tasks = [_build_mapped_task(index, model, seed) for index in range(JOBS)]
        begin = time.perf_counter()
        Fleet(8).run(tasks)
        seconds = time.perf_counter() - begin
        statuses = Counter(world.emulator.list_statuses(world.account)[before:])
    succeeded = len({task.result for task in tasks if task.error is None})
    yield Row("200 mapped jobs: that succeed", succeeded, None, "200", succeeded == JOBS)
    yield build_limit_row("200 mapped jobs: calls throttled, %", 100 * statuses[429] / statuses.total(), 5)
    yield Row("200 mapped jobs: calls in all", statuses.total())
    yield Row("200 mapped jobs: starts refused for a full quota", statuses[402])
    yield Row("200 mapped jobs: seconds (peer: one start a second)", seconds, JOBS)


def _build_mapped_task(index: int, model: str, seed: dict[str, Any]) -> Task:
    ti = TaskInstance("run")
    ti.map_index = index
    arguments: dict[str, Any] = {
        "configured_audience_model_arn": model,
        "seed_audience": seed,
        "deferrable": True,
        "waiter_delay": 5,
    }
    return Task(
        lambda: CleanRoomsMLStartAudienceGenerationJobOperator(task_id="task", name=f"job-{index}", **arguments), ti
    )
