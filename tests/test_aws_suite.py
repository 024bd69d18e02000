"""Run the suite for real AWS accounts as a user does, but against the emulator."""

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
def lenient_emulator() -> Iterator[EmulatorProcess]:
    """An emulator that accepts duplicate names."""
    process = EmulatorProcess("--scale", "0.001", "--names-not-unique")
    yield process
    process.stop()


def build_variables(world: World, *names: str) -> dict[str, str]:
    """Build the environment variables that name the resources which the suite needs."""
    return {f"{SWITCH}_{name}": EmulatedAccount(world).read_requirement(name) for name in names}


def run_suite(world: World, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the suite in a separate process, with the environment of a user who has an account."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AIRFLOW", "PYTEST_"))}
    environment = {
        **plain,
        "AWS_ENDPOINT_URL": world.emulator.url,
        "AWS_ACCESS_KEY_ID": world.account,
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        SWITCH: "1",
        **build_variables(world, "ROLE_ARN", "GLUE_DATABASE", "GLUE_TABLE"),
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


def list_remaining(world: World) -> list[str]:
    """List the names of the training datasets and algorithms that the account still has."""
    ml = world.ml
    datasets = ml.list_training_datasets()["trainingDatasets"]
    return [entry["name"] for entry in (*datasets, *ml.list_configured_model_algorithms()["configuredModelAlgorithms"])]


def test_suite_passes_reports_skips_and_cleans_up(empty_world: World) -> None:
    world = empty_world
    older = f"{MARK}-0123abcd-7"
    world.create_dataset(older)
    world.create_dataset("unrelated")
    completed = run_suite(world, "tests/aws", **build_variables(world, "IMAGE_URI", "BUCKET"))
    assert completed.returncode == 0, completed.stdout
    assert f"{SWITCH}_AUDIENCE_MODEL_ARN is not set: a trained audience model" in completed.stdout
    assert f"{SWITCH}_MEMBERSHIP is not set" in completed.stdout
    assert f"it costs money: {SWITCH}=expensive runs it" in completed.stdout
    assert "What the service at AWS_ENDPOINT_URL (not AWS) does" in completed.stdout
    assert "as assumed: a training dataset with no name: ValidationException" in completed.stdout
    assert re.search(rf"older: training dataset {older}, made .*: arn:", completed.stdout)
    assert sorted(list_remaining(world)) == [older, "unrelated"]
    assert "CreateAudienceModel" not in world.calls


def test_suite_reports_wrong_assumptions(lenient_emulator: EmulatorProcess) -> None:
    world = World(lenient_emulator)
    completed = run_suite(world, "tests/aws/test_undecided.py", **build_variables(world, "IMAGE_URI"))
    expected = ["a second configured model algorithm of the same name", "what the emulator assumes: ConflictException"]
    start = completed.stdout.index(expected[0])
    assert [line.strip() for line in completed.stdout[start:].splitlines()[:2]] == expected
    assert "did: accepted" in completed.stdout[start:].splitlines()[2]
    assert list_remaining(world) == []


@pytest.mark.parametrize(
    ("switch", "expensive", "worker", "reason"),
    [
        ("", False, "", f"{SWITCH} is not set: 1 runs it"),
        ("yes", False, "", f"{SWITCH} is yes: 1 runs it"),
        ("1", False, "gw0", "without -n"),
        ("1", True, "", "it costs money"),
    ],
)
def test_skip_has_a_reason(
    monkeypatch: pytest.MonkeyPatch, switch: str, expensive: bool, worker: str, reason: str
) -> None:
    monkeypatch.setattr(user, "_given", {SWITCH: switch})
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    if worker:
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
    assert reason in user.find_skip_reason(expensive=expensive)
    monkeypatch.setattr(user, "_given", {SWITCH: "expensive"})
    assert bool(user.find_skip_reason(expensive=expensive)) == bool(worker)


def test_failed_deletion_does_not_stop_cleanup(empty_world: World) -> None:
    bench = Bench(EmulatedAccount(empty_world), "run")
    first = bench.create_dataset()
    bench.create_dataset()
    empty_world.add_fault("DeleteTrainingDataset", "access_denied")
    with pytest.raises(AssertionError, match="AccessDeniedException"):
        bench.clear()
    assert len(list_remaining(empty_world)) == 1
    empty_world.add_fault("ListConfiguredModelAlgorithms", "access_denied")
    swept = sweep("run")
    assert ["training dataset" in title for title in swept.deleted] == [True]
    assert ["could not be listed" in title for title in swept.left] == [True]
    assert (list_remaining(empty_world), first in swept.deleted[0]) == ([], False)


def test_operators_resource_is_named_and_tagged(empty_world: World) -> None:
    bench = Bench(EmulatedAccount(empty_world), "run")
    request = bench.build_dataset_request()
    arn = bench.make(
        CleanRoomsMLCreateTrainingDatasetOperator, role_arn=request["roleArn"], training_data=request["trainingData"]
    )
    dataset = empty_world.ml.get_training_dataset(trainingDatasetArn=arn)
    assert (dataset["name"].startswith(f"{MARK}-run-"), remove_claim(dataset["tags"])) == (True, {MARK: "run"})
