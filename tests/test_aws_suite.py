"""The suite for a real account, run as a user runs it, against the emulator in place of AWS."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from airflow_cleanroomsml.operators import CleanRoomsMLCreateTrainingDatasetOperator
from tests.aws import user
from tests.aws.account import EmulatedAccount
from tests.aws.created_resources import MARK, Bench, sweep
from tests.aws.user import SWITCH
from tests.helpers.deployment import ROOT
from tests.support import EmulatorProcess, World, remove_claim


@pytest.fixture(scope="module")
def generous() -> Iterator[EmulatorProcess]:
    """A service that does not care about names."""
    process = EmulatorProcess("--scale", "0.001", "--names-not-unique")
    yield process
    process.stop()


def needed(world: World, *names: str) -> dict[str, str]:
    """Variables that name what the suite needs."""
    return {f"{SWITCH}_{name}": EmulatedAccount(world).read_requirement(name) for name in names}


def suite(world: World, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own, with the environment of somebody who has an account."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AIRFLOW", "PYTEST_"))}
    environment = {
        **plain,
        "AWS_ENDPOINT_URL": world.emulator.url,
        "AWS_ACCESS_KEY_ID": world.account,
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        SWITCH: "1",
        **needed(world, "ROLE_ARN", "GLUE_DATABASE", "GLUE_TABLE"),
        **more,
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-k",
        "not emulator",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        *options,
    ]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)


def left(world: World) -> list[str]:
    """Names of the training datasets and algorithms that are there."""
    ml = world.ml
    datasets = ml.list_training_datasets()["trainingDatasets"]
    return [entry["name"] for entry in (*datasets, *ml.list_configured_model_algorithms()["configuredModelAlgorithms"])]


def test_it_passes_says_what_it_skips_and_leaves_nothing(empty_world: World) -> None:
    world = empty_world
    older = f"{MARK}-0123abcd-7"
    world.create_dataset(older)
    world.create_dataset("somebody-else's")
    done = suite(world, "tests/aws", **needed(world, "IMAGE_URI", "BUCKET"))
    assert done.returncode == 0, done.stdout
    assert f"{SWITCH}_AUDIENCE_MODEL_ARN is not set: a trained audience model" in done.stdout
    assert f"{SWITCH}_MEMBERSHIP is not set" in done.stdout
    assert f"it costs money: {SWITCH}=expensive runs it" in done.stdout
    assert "What the service at AWS_ENDPOINT_URL (not AWS) does" in done.stdout
    assert "as assumed: a training dataset with no name: ValidationException" in done.stdout
    assert re.search(rf"older: training dataset {older}, made .*: arn:", done.stdout)
    assert sorted(left(world)) == [older, "somebody-else's"]
    assert "CreateAudienceModel" not in world.calls


def test_it_reports_what_differs_from_the_assumptions(generous: EmulatorProcess) -> None:
    world = World(generous)
    done = suite(world, "tests/aws/test_undecided.py", **needed(world, "IMAGE_URI"))
    said = ["a second configured model algorithm of the same name", "what the emulator assumes: ConflictException"]
    where = done.stdout.index(said[0])
    assert [line.strip() for line in done.stdout[where:].splitlines()[:2]] == said
    assert "did: accepted" in done.stdout[where:].splitlines()[2]
    assert left(world) == []


@pytest.mark.parametrize(
    ("switch", "expensive", "worker", "reason"),
    [
        ("", False, "", f"{SWITCH} is not set: 1 runs it"),
        ("yes", False, "", f"{SWITCH} is yes: 1 runs it"),
        ("1", False, "gw0", "without -n"),
        ("1", True, "", "it costs money"),
    ],
)
def test_it_is_skipped_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, switch: str, expensive: bool, worker: str, reason: str
) -> None:
    monkeypatch.setattr(user, "_given", {SWITCH: switch})
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    if worker:
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
    assert reason in user.find_skip_reason(expensive=expensive)
    monkeypatch.setattr(user, "_given", {SWITCH: "expensive"})
    assert bool(user.find_skip_reason(expensive=expensive)) == bool(worker)


def test_a_failure_while_clearing_does_not_keep_the_rest(empty_world: World) -> None:
    bench = Bench(EmulatedAccount(empty_world), "run")
    first = bench.create_dataset()
    bench.create_dataset()
    empty_world.add_fault("DeleteTrainingDataset", "access_denied")
    with pytest.raises(AssertionError, match="AccessDeniedException"):
        bench.clear()
    assert len(left(empty_world)) == 1
    empty_world.add_fault("ListConfiguredModelAlgorithms", "access_denied")
    swept = sweep("run")
    assert ["training dataset" in title for title in swept.deleted] == [True]
    assert ["could not be listed" in title for title in swept.left] == [True]
    assert (left(empty_world), first in swept.deleted[0]) == ([], False)


def test_what_an_operator_makes_is_named_and_tagged(empty_world: World) -> None:
    bench = Bench(EmulatedAccount(empty_world), "run")
    given = bench.build_dataset_request()
    arn = bench.make(
        CleanRoomsMLCreateTrainingDatasetOperator, role_arn=given["roleArn"], training_data=given["trainingData"]
    )
    found = empty_world.ml.get_training_dataset(trainingDatasetArn=arn)
    assert (found["name"].startswith(f"{MARK}-run-"), remove_claim(found["tags"])) == (True, {MARK: "run"})
