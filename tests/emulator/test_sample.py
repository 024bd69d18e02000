"""The emulator with its sample: its output is all that Airflow needs to run the README's Dag."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_cleanroomsml.emulator.sample.load import SampleError, load_sample
from airflow_cleanroomsml.emulator.server import Emulator
from airflow_cleanroomsml.emulator.settings import Settings
from airflow_cleanroomsml.operators import (
    CleanRoomsFindConfiguredAudienceModelOperator,
    CleanRoomsMLStartAudienceExportJobOperator,
)
from tests.support import make_client, run

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "airflow_cleanroomsml.emulator", "--port", "0"]


@dataclass
class EmulatorOutput:
    """What the emulator prints: the variables that its shell lines export, and the conf with which to run each Dag."""

    variables: dict[str, str]
    runs: dict[str, dict[str, Any]]

    def client(self, service: str, connection: str = "aws_default") -> Any:
        """Make a client for the account of a connection."""
        login = json.loads(self.variables[f"AIRFLOW_CONN_{connection.upper()}"])["login"]
        return make_client(
            service,
            endpoint_url=self.variables["AWS_ENDPOINT_URL"],
            region_name=self.variables["AWS_DEFAULT_REGION"],
            aws_access_key_id=login,
            aws_secret_access_key="secret",
        )


def run_shell(lines: list[str]) -> dict[str, str]:
    """Run shell lines, and return the AWS and Airflow variables that they export."""
    script = "\n".join(
        [*lines, f"exec {shlex.quote(sys.executable)} -c 'import json, os; print(json.dumps(dict(os.environ)))'"]
    )
    process = subprocess.run(["sh", "-c", script], env={}, capture_output=True, text=True, check=True)
    environment: dict[str, str] = json.loads(process.stdout)
    return {name: value for name, value in environment.items() if name.startswith(("AWS_", "AIRFLOW_"))}


@pytest.fixture(scope="module")
def output() -> Iterator[EmulatorOutput]:
    command = [*COMMAND, "--with-sample", "--sample-users", "1000", "--stop-with-stdin"]
    # Requests to this machine do not go through the user's proxy.
    environment = {**os.environ, "HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        while lines[-1] and "example_task_groups" not in lines[-1]:
            lines.append(process.stdout.readline())
        dags = [shlex.split(line)[4:] for line in lines if line.startswith("#   airflow dags test ")]
        runs = {dag: json.loads(options[-1]) if options else {} for dag, *options in dags}
        yield EmulatorOutput(run_shell(lines), runs)
        process.terminate()


@pytest.fixture
def sample(output: EmulatorOutput, monkeypatch: pytest.MonkeyPatch) -> EmulatorOutput:
    """The output, with its variables set, so that the connections lead to the sample."""
    for name, value in output.variables.items():
        monkeypatch.setenv(name, value)
    return output


def read_readme_dag() -> Any:
    """Execute the README's code, and return its Dag."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert block
    names: dict[str, Any] = {}
    exec(compile(block[1], "README.md", "exec"), names)
    return names["configured_model"].dag


def read_audience(sample: EmulatorOutput, location: str) -> list[str]:
    bucket, prefix = location.removeprefix("s3://").split("/", 1)
    s3 = sample.client("s3")
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]]
    lines = b"".join(s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in sorted(keys)).splitlines()
    return [json.loads(line)["user_id"] for line in lines]


def read_seed(sample: EmulatorOutput, connection: str, bucket: str, key: str) -> set[str]:
    body = sample.client("s3", connection).get_object(Bucket=bucket, Key=key)["Body"].read()
    return {json.loads(line)["user_id"] for line in body.splitlines()}


def test_readme_dag_runs_and_its_audience_is_exported(sample: EmulatorOutput) -> None:
    dag = read_readme_dag()
    configured_model, segment = dag.get_task("configured_model"), dag.get_task("segment")
    variable = {"value": {"audience_model_arn": sample.variables["AIRFLOW_VAR_AUDIENCE_MODEL_ARN"]}}
    arn = run(configured_model, var=variable, run_id="r1").result
    segment.configured_audience_model_arn = arn
    job = run(segment, run_id="r1").result
    assert sample.client("cleanroomsml").get_audience_generation_job(audienceGenerationJobArn=job)["status"] == "ACTIVE"
    export = CleanRoomsMLStartAudienceExportJobOperator(
        task_id="export",
        name="export",
        audience_generation_job_arn=job,
        audience_size={"type": "PERCENTAGE", "value": 10},
    )
    users = read_audience(sample, run(export).result["output_location"])
    # A tenth of the users who have two interactions in the training window, which ends two weeks before the data does.
    assert 70 < len(set(users)) == len(users) <= 100
    assert not set(users) & read_seed(sample, "aws_default", "my-bucket", "seed/users.jsonl")


def test_partner_finds_model_that_collaboration_offers(sample: EmulatorOutput) -> None:
    find = CleanRoomsFindConfiguredAudienceModelOperator(
        task_id="find",
        collaboration_identifier=sample.variables["AIRFLOW_VAR_COLLABORATION_ID"],
        aws_conn_id="aws_seeder",
    )
    assert run(find).result == sample.variables["AIRFLOW_VAR_OFFERED_AUDIENCE_MODEL_ARN"]
    seed = read_seed(sample, "aws_seeder", "seeders-bucket", "seed/users.jsonl")
    assert seed == read_seed(sample, "aws_default", "my-bucket", "seed/users.jsonl")


@pytest.mark.parametrize("party", ["aws_default", "aws_seeder"])
def test_each_party_has_a_role(sample: EmulatorOutput, party: str) -> None:
    names = [role["RoleName"] for role in sample.client("iam", party).list_roles()["Roles"]]
    assert names == [{"aws_default": "cleanrooms-ml-lookalike", "aws_seeder": "cleanrooms-ml-seed"}[party]]


def test_conf_of_each_dag_names_only_its_params(sample: EmulatorOutput) -> None:
    for dag, conf in sample.runs.items():
        if dag != "weekly_audience":
            text = (ROOT / "example_dags" / f"{dag}.py").read_text(encoding="utf-8")
            params = re.search(r"^    params=\{.*?\},$", text, re.MULTILINE | re.DOTALL)
            assert params, dag
            assert [name for name in conf if f'"{name}":' not in params[0]] == [], dag


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sample-users", "5000"], "--sample-users requires --with-sample"),
        (["--with-sample", "--sample-users", "999"], "must be 1,000 to 100,000, not 999"),
        (["--with-sample", "--scale", "1"], "--scale and --with-sample cannot be combined"),
    ],
)
def test_conflicting_options_are_rejected(options: list[str], message: str) -> None:
    process = subprocess.run([*COMMAND, *options], capture_output=True, text=True, check=False, timeout=120)
    assert (process.returncode, process.stdout) == (2, "")
    assert message in process.stderr


def test_failed_training_is_reported_with_reason(empty_moto: None) -> None:
    settings = Settings(scale=1, pending_seconds=0, progress_seconds=0)
    with Emulator(settings) as emulator, pytest.raises(SampleError, match=r"is CREATE_FAILED\. .*1,000,000"):
        load_sample(emulator.url, 1_000)


def test_emulator_can_be_stopped_while_sample_loads() -> None:
    command = [*COMMAND, "--with-sample", "--pending-seconds", "100000", "--stop-with-stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("AWS_ENDPOINT_URL=")
        process.terminate()
        rest, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "export" not in rest
