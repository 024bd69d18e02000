"""What tests share: the emulator as a process, an account with data, and tasks that run without a scheduler."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import boto3

from airflow_cleanroomsml._idempotency.claim import TAG
from tests.helpers.emulator_starter import SOCKET, ForkedProcess

if TYPE_CHECKING:
    import pytest
    from typing_extensions import Self

REGION = "us-east-1"
#: ``boto3.client`` for a service name in a variable, which the type stubs reject.
make_client: Callable[..., Any] = boto3.client
SCHEMA = [
    {"columnName": "user_id", "columnTypes": ["USER_ID"]},
    {"columnName": "item_id", "columnTypes": ["ITEM_ID"]},
    {"columnName": "timestamp", "columnTypes": ["TIMESTAMP"]},
]

#: Settings of the emulator with which a job takes no time.
INSTANT = {"synchronous_jobs": True, "pending_seconds": 0, "progress_seconds": 0}
_SWITCHING = threading.Lock()


class RunningEmulator:
    """An emulator at a URL, in this process or another one."""

    url: str
    #: Whether other processes use it at the same time: then its settings, which are those of all accounts, must stay.
    is_shared = False
    _initial: Mapping[str, Any] = MappingProxyType({})

    def _control(self, path: str, body: Mapping[str, Any] | None = None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_emulator/{path}", data, method=method)
        with urllib.request.urlopen(request) as response:
            return json.load(response)

    def list_calls(self, account: str) -> list[str]:
        """Operations of Clean Rooms ML that the account has called, in order."""
        entries = self._control(f"requests?account={account}")["requests"]
        return [entry["operation"] for entry in entries]

    def advance(self, seconds: float) -> None:
        """Move the emulator's clock forward."""
        self._control("clock", {"advance": seconds})

    def read_clock(self) -> datetime:
        """Return the emulator's time, which this or another test may have moved forward."""
        now = float(self._control("clock", {"advance": 0})["now"])
        return datetime.fromtimestamp(now, timezone.utc)

    def read_lead(self) -> float:
        """Seconds by which the emulator's clock is ahead, because this or another test has moved it."""
        return self.read_clock().timestamp() - time.time()

    def list_statuses(self, account: str) -> list[int]:
        """The HTTP status of each call, in order."""
        return [entry["status"] for entry in self._control(f"requests?account={account}")["requests"]]

    def add_fault(self, operation: str, kind: str, account: str, times: int = 1, **more: Any) -> None:
        self._control("faults", {"operation": operation, "kind": kind, "account": account, "times": times, **more})

    def list_faults(self, account: str) -> list[str]:
        """Kinds of the faults of an account that are not used up."""
        return [entry["kind"] for entry in self._control("faults")["faults"] if entry["account"] == account]

    def clear_faults(self, account: str) -> None:
        self._control(f"faults?account={account}", method="DELETE")

    def allow(self, account: str, *actions: str) -> None:
        """Allow the callers of an account these IAM actions and no others."""
        self._control("permissions", {"account": account, "actions": list(actions)})

    def allow_everything(self, account: str) -> None:
        """Allow the callers of an account everything."""
        self._control(f"permissions?account={account}", method="DELETE")

    def read_permissions(self, account: str) -> dict[str, Any]:
        """The IAM actions that an account allows, None for all, and those that its requests have needed, if it has sent any."""
        permissions: dict[str, Any] = self._control(f"permissions?account={account}")["permissions"]
        return dict(permissions.get(account, {"actions": None, "needed": []}))

    def change_settings(self, **settings: Any) -> dict[str, Any]:
        """Change settings until the test ends; returns the previous ones."""
        before: dict[str, Any] = self._control("settings")
        self._control("settings", settings)
        self._initial = {name: before[name] for name in settings} | dict(self._initial)
        return before

    @contextlib.contextmanager
    def finish_jobs_at_once(self) -> Iterator[None]:
        """Let jobs end at once inside the block, in any account, for resources that a test needs but does not examine."""
        if self.is_shared:
            yield
            return
        # Two threads that did this at the same time would restore each other's settings.
        with _SWITCHING:
            before: dict[str, Any] = self._control("settings")
            self._control("settings", INSTANT)
            try:
                yield
            finally:
                self._control("settings", {name: before[name] for name in INSTANT})

    def restore_settings(self) -> None:
        """Undo what :meth:`change_settings` has changed: tests share the emulator."""
        if self._initial:
            self._control("settings", self._initial)
            self._initial = {}


def find_emulator_python() -> str:
    """Find the Python of the emulator, which can need newer libraries than the Airflow under test."""
    return os.environ.get("AIRFLOW_CLEANROOMSML_EMULATOR_PYTHON", sys.executable)


def build_emulator_environment() -> dict[str, str]:
    """Return the environment of an emulator: that of the test, without settings of AWS and Airflow."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AIRFLOW"))}


class EmulatorProcess(RunningEmulator):
    """
    The emulator in a separate process.

    A run with xdist has one process that forks it, with its libraries loaded; see :mod:`tests.helpers.emulator_starter`.
    """

    module = "airflow_cleanroomsml.emulator"

    def __init__(self, *options: str) -> None:
        # Outside of the source tree, so that Python finds the installed package.
        folder = tempfile.gettempdir()
        module = [self.module, "--port", "0", "--stop-with-stdin", *options]
        self._process: subprocess.Popen[str] | ForkedProcess
        if SOCKET in os.environ:
            self._process = ForkedProcess(module, build_emulator_environment(), folder)
        else:
            self._process = subprocess.Popen(
                [find_emulator_python(), "-m", *module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=build_emulator_environment(),
                cwd=folder,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("AWS_ENDPOINT_URL="), f"the emulator did not start: {line!r}"
        self.url = line.strip().split("=", 1)[1]

    def stop(self) -> None:
        """Kill it, because an orderly end takes seconds and saves nothing; ``tests/emulator/test_main.py`` tests the orderly end."""
        self._process.kill()
        self._process.wait(120)


@dataclass
class World:
    """A new account in the emulator, with the names of its bucket, Glue table and role."""

    emulator: RunningEmulator
    account: str = field(default_factory=lambda: str(random.randrange(10**11, 10**12)))
    prefix: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    _clients: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def client(self, service: str) -> Any:
        """Return the account's client of a service, which is built once: a new one costs as much as several calls."""
        if service not in self._clients:
            self._clients[service] = self._make_client(service)
        return self._clients[service]

    def make_client_of_role(self, service: str, role: str) -> Any:
        """Make a client of a service with the credentials of an assumed role."""
        credentials = self.client("sts").assume_role(RoleArn=role, RoleSessionName="session")["Credentials"]
        return make_client(
            service,
            endpoint_url=self.emulator.url,
            region_name=REGION,
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials["SessionToken"],
        )

    def _make_client(self, service: str) -> Any:
        return make_client(
            service,
            endpoint_url=self.emulator.url,
            region_name=REGION,
            aws_access_key_id=self.account,
            aws_secret_access_key="secret",
        )

    @property
    def ml(self) -> Any:
        return self.client("cleanroomsml")

    @property
    def calls(self) -> list[str]:
        return self.emulator.list_calls(self.account)

    def add_fault(self, operation: str, kind: str, times: int = 1, **more: Any) -> None:
        self.emulator.add_fault(operation, kind, self.account, times, **more)

    @property
    def role(self) -> str:
        return f"arn:aws:iam::{self.account}:role/cleanrooms-ml"

    @property
    def bucket(self) -> str:
        return f"bucket-{self.prefix}"

    @property
    def output(self) -> dict[str, Any]:
        return {
            "destination": {"s3Destination": {"s3Uri": f"s3://{self.bucket}/audiences"}},
            "roleArn": self.role,
        }

    def write_seed(self, users: list[str] | None = None) -> dict[str, Any]:
        """Write a seed of these users, by default of thirty who prefer the first kind of items."""
        key = f"seed/{uuid.uuid4()}.jsonl"
        ids = users if users is not None else [f"u{index}" for index in range(0, 120, 4)]
        body = "".join(json.dumps({"user_id": user}) + "\n" for user in ids)
        self.client("s3").put_object(Bucket=self.bucket, Key=key, Body=body.encode())
        return {"dataSource": {"s3Uri": f"s3://{self.bucket}/{key}"}, "roleArn": self.role}

    def build_training_data(self, table: str = "interactions") -> list[dict[str, Any]]:
        source = {"glueDataSource": {"databaseName": "lookalike", "tableName": table}}
        return [{"type": "INTERACTIONS", "inputConfig": {"schema": SCHEMA, "dataSource": source}}]

    def build(self, csv: bytes | None = None) -> Self:
        """Create bucket, table and file; by default with 200 users, every second of whom prefers one half of the items."""
        self.create_bucket()
        self.client("s3").put_object(
            Bucket=self.bucket, Key="interactions/part-0.csv", Body=csv or build_interactions()
        )
        glue = self.client("glue")
        glue.create_database(DatabaseInput={"Name": "lookalike"})
        glue.create_table(DatabaseName="lookalike", TableInput=self._table())
        return self

    def create_bucket(self) -> None:
        """Create the bucket of the account."""
        self.client("s3").create_bucket(Bucket=self.bucket)

    def _table(self) -> dict[str, Any]:
        return {
            "Name": "interactions",
            "StorageDescriptor": {
                "Columns": [
                    {"Name": "user_id", "Type": "string"},
                    {"Name": "item_id", "Type": "string"},
                    {"Name": "timestamp", "Type": "bigint"},
                    {"Name": "event_type", "Type": "string"},
                    {"Name": "event_value", "Type": "int"},
                ],
                "Location": f"s3://{self.bucket}/interactions/",
                "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
                "SerdeInfo": {
                    "SerializationLibrary": "org.apache.hadoop.hive.serde2.OpenCSVSerde",
                    "Parameters": {"separatorChar": ","},
                },
            },
            "Parameters": {"classification": "csv", "skip.header.line.count": "1"},
            "TableType": "EXTERNAL_TABLE",
        }

    def wait(self, arn: str) -> dict[str, Any]:
        """Wait with plain boto3 until an audience model or generation job has ended."""
        kind = "audience_model" if ":audience-model/" in arn else "audience_generation_job"
        argument = "audienceModelArn" if kind == "audience_model" else "audienceGenerationJobArn"
        end = time.monotonic() + 300
        while time.monotonic() < end:
            response: dict[str, Any] = getattr(self.ml, f"get_{kind}")(**{argument: arn})
            if not response["status"].startswith("CREATE_") or response["status"] == "CREATE_FAILED":
                return response
            time.sleep(0.1)
        raise AssertionError(f"{arn} has not ended within 300 s")

    def create_dataset(self, name: str = "dataset") -> str:
        response = self.ml.create_training_dataset(
            name=name, roleArn=self.role, trainingData=self.build_training_data()
        )
        return str(response["trainingDatasetArn"])

    def train_model(self, name: str = "model") -> str:
        """Create a trained audience model."""
        dataset = self.create_dataset(f"{name}-dataset")
        with self.emulator.finish_jobs_at_once():
            response = self.ml.create_audience_model(name=name, trainingDatasetArn=dataset)
        assert self.wait(response["audienceModelArn"])["status"] == "ACTIVE"
        return str(response["audienceModelArn"])

    def create_configured_model(self, name: str = "configured", **more: Any) -> str:
        """Create a configured audience model, ready for jobs."""
        response = self.ml.create_configured_audience_model(
            name=name,
            audienceModelArn=self.train_model(f"{name}-model"),
            outputConfig=self.output,
            sharedAudienceMetrics=more.pop("metrics", ["ALL"]),
            audienceSizeConfig={"audienceSizeType": "PERCENTAGE", "audienceSizeBins": [5, 10, 20]},
            **more,
        )
        return str(response["configuredAudienceModelArn"])

    def allow_jobs(self, model: str, account: str) -> None:
        """Allow another account to start generation jobs with a configured audience model."""
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": account},
            "Action": "cleanrooms-ml:StartAudienceGenerationJob",
            "Resource": "*",
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.ml.put_configured_audience_model_policy(
            configuredAudienceModelArn=model, configuredAudienceModelPolicy=policy
        )

    def generate_audience(self, name: str = "job") -> str:
        """Create a finished generation job."""
        configured, seed = self.create_configured_model(f"{name}-configured"), self.write_seed()
        with self.emulator.finish_jobs_at_once():
            response = self.ml.start_audience_generation_job(
                name=name, configuredAudienceModelArn=configured, seedAudience=seed
            )
        assert self.wait(response["audienceGenerationJobArn"])["status"] == "ACTIVE"
        return str(response["audienceGenerationJobArn"])


@cache
def build_interactions(users: int = 200, each: int = 10, begin: int = 1_760_000_000, seconds: int = 7_000_000) -> bytes:
    """
    Build a CSV of users, every second of whom prefers one half of the items.

    :param each: Interactions of each user.
    :param begin: Earliest possible time, in seconds since 1970.
    :param seconds: Length of the period in seconds.
    """
    draw = random.Random(7)
    out = io.StringIO("user_id,item_id,timestamp,event_type,event_value\n")
    out.seek(0, io.SEEK_END)
    for user in range(users):
        for _ in range(each):
            kind = user % 2 if draw.random() < 0.8 else draw.randrange(2)
            out.write(
                f"u{user},i{kind}-{draw.randrange(30)},{begin + draw.randrange(seconds)},click,{draw.randrange(9)}\n"
            )
    return out.getvalue().encode()


def remove_claim(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags without the claim of the task that created the resource."""
    return {key: value for key, value in tags.items() if key != TAG}


class TaskInstance:
    """
    A stand-in for Airflow's task instance; tests that need the real one run a Dag.

    :param run_id: Run; a new one if empty.
    """

    #: ``retries`` of the task.
    retries = 5
    #: Airflow sets it when it creates the task instance, and again when a user clears it.
    max_tries = retries

    def __init__(self, run_id: str = "", try_number: int = 1) -> None:
        self.dag_id, self.task_id, self.map_index = "dag", "task", -1
        self.run_id = run_id or f"manual__{uuid.uuid4()}"
        self.try_number = try_number
        self.pushed: dict[str, Any] = {}
        #: Its links, which Airflow keeps in XCom for the UI.
        self.links: dict[str, str] = {}
        self.start_date = None

    def xcom_push(self, key: str, value: Any) -> None:
        kept = self.links if key.startswith("_link_") else self.pushed
        kept[key] = json.loads(json.dumps(value))

    def xcom_pull(self, *, task_ids: str, key: str, map_indexes: int) -> Any:
        return self.pushed.get(key) if (task_ids, map_indexes) == (self.task_id, self.map_index) else None

    def xcom_delete(self, key: str) -> None:
        """What ``_compat.delete_xcom`` does to the database of a real Airflow; see :func:`keep_xcoms`."""
        self.pushed.pop(key, None)

    def store_link(self, key: str, url: str) -> None:
        """What ``_compat.store_link`` does to the database of a real Airflow."""
        self.links[key] = url

    def make_next_try(self) -> TaskInstance:
        """Return the next try of the same task, whose XComs Airflow has deleted."""
        next_try = copy(self)
        next_try.try_number += 1
        next_try.pushed, next_try.links = {}, {}
        return next_try

    def make_cleared_try(self) -> TaskInstance:
        """Return the same task after a user cleared it."""
        cleared = self.make_next_try()
        cleared.max_tries = self.try_number + self.retries
        return cleared


def keep_xcoms(patch: pytest.MonkeyPatch) -> None:
    """Let tasks delete the XComs and store the links of their :class:`TaskInstance`; ``tests/dags`` does so in a real Airflow."""
    from airflow_cleanroomsml import _compat

    patch.setattr(_compat, "delete_xcom", lambda ti, key: ti.xcom_delete(key))
    patch.setattr(_compat, "store_link", lambda ti, key, url: ti.store_link(key, url))


@dataclass
class Run:
    """The result of a task and what it pushed to XCom."""

    result: Any
    pushed: dict[str, Any]


def run(operator: Any, **context: Any) -> Run:
    """Render and execute a task; deferrals go through their triggers, serialised and back, in this process."""
    ti = context.get("ti") or TaskInstance()
    # Airflow 2.11 reads the number of mapped task instances when it renders the output of another task.
    context = {"params": {}, "expanded_ti_count": None, **context, "ti": ti}
    operator.render_template_fields(context)
    step = partial(operator.execute, context)
    while True:
        try:
            return Run(json.loads(json.dumps(step())), ti.pushed)
        except BaseException as error:
            if type(error).__name__ != "TaskDeferred":
                raise
            step = partial(resume, operator, error, context)


def resume(operator: Any, deferred: Any, context: Any) -> Any:
    """Resume a task with the event of its trigger, as Airflow does."""
    path, keywords = deferred.trigger.serialize()
    module, name = path.rsplit(".", 1)
    trigger = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(keywords)))

    async def read_first_event() -> Any:
        return (await anext(trigger.run())).payload

    event = json.loads(json.dumps(asyncio.run(read_first_event())))
    return operator.resume_execution(deferred.method_name, {"event": event, **(deferred.kwargs or {})}, context)
