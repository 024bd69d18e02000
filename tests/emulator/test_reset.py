"""A reset of everything leaves no trace of earlier requests, not even of a job that is still computing."""

from __future__ import annotations

import json
import time
import urllib.error
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import EmulatorProcess, World


@pytest.fixture(scope="module")
def process() -> Iterator[EmulatorProcess]:
    """An emulator that only these tests use, so that they may reset it."""
    process = EmulatorProcess("--scale", "0.001", "--pending-seconds", "0", "--progress-seconds", "3600")
    yield process
    process.stop()


def reset(process: EmulatorProcess, **body: Any) -> None:
    process._control("reset", body)


def test_reset_restores_clock_and_settings(process: EmulatorProcess) -> None:
    settings = process.change_settings(scale=0.5, unique_names=False)
    process._control("clock", {"advance": 86_400, "freeze": True})
    reset(process)
    clock = process._control("clock")
    assert clock["now"] > time.time() + 80_000
    assert process.change_settings()["scale"] == 0.5
    reset(process, everything=True)
    clock = process._control("clock")
    assert not clock["frozen"]
    assert abs(clock["now"] - time.time()) < 3600
    assert process.change_settings() == settings


def test_running_job_writes_nothing_after_reset(process: EmulatorProcess) -> None:
    world = World(process).build()
    process.change_settings(progress_seconds=0)
    job = world.generate_audience()
    world.ml.start_audience_export_job(
        name="export", audienceGenerationJobArn=job, audienceSize={"type": "PERCENTAGE", "value": 10}
    )
    reset(process, everything=True)
    written = world.client("s3").list_objects_v2(Bucket=world.bucket, Prefix="audiences/").get("KeyCount", 0)
    time.sleep(0.3)
    assert world.client("s3").list_objects_v2(Bucket=world.bucket, Prefix="audiences/").get("KeyCount", 0) == written
    assert world.ml.list_audience_models()["audienceModels"] == []


@pytest.mark.parametrize("body", [{"everything": "yes"}, {"everything": 1}, {"all": True}])
def test_invalid_reset_has_no_effect(process: EmulatorProcess, body: dict[str, Any]) -> None:
    world = World(process)
    arn = world.create_dataset()
    with pytest.raises(urllib.error.HTTPError) as caught:
        reset(process, **body)
    assert (caught.value.code, "reset: " in json.load(caught.value)["message"]) == (400, True)
    assert world.ml.get_training_dataset(trainingDatasetArn=arn)["name"] == "dataset"
