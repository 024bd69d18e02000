"""Nothing confidential appears in a log, an exception, an event or a rendered field of a real Airflow."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.dags.airflow_user import User
from tests.helpers.custom_models import Studio
from tests.helpers.deployment import Deployment, format_connection
from tests.helpers.lineage import record_lineage
from tests.support import EmulatorProcess, World

FILE = Path(__file__).parent / "files" / "confidential.py"
QUERY = "SELECT marker_of_the_query FROM events WHERE clicks > 3"
MARKERS = ("marker_of_the_query", "marker_of_the_parameter", "marker_of_the_environment", "marker_of_a_template")
#: Messages of the service for failed jobs: query engines quote the query, containers their environment.
ENGINE = 'line 1:8: Column cannot be resolved in "{query}" with marker_of_the_parameter'
CONTAINER = "login as marker_of_the_environment was refused"
FAILED = {"fails", "refused", "not_rendered", "sensed", "model_fails", "segment"}
#: Tasks whose failed jobs quote the values that the Variables had when the job was created.
QUOTED = {"fails", "model_fails", "segment"}
BACKEND = "airflow.secrets.local_filesystem.LocalFilesystemBackend"
#: Tables with the text of the Dag file, which its author may read anyway.
SOURCE = ("dag_code", "serialized_dag")
#: Tables from which rows or values are deleted while a Dag runs.
TRANSIENT = ("task_instance", "trigger", "xcom")


class Case:
    """An account in which certain jobs fail, and an Airflow that uses it."""

    def __init__(self, emulator: EmulatorProcess, home: Path, **more: str) -> None:
        self.studio = Studio(World(emulator).build())
        world = self.studio.world
        # Outside the home of Airflow, in which no file may contain a marker.
        self._variables = home.with_name(f"{home.name}-variables.json")
        self.set_variables(query=QUERY, parameter="marker_of_the_parameter", environment="marker_of_the_environment")
        found = {"variables_file_path": str(self._variables)}
        self.airflow = Deployment(
            home,
            AWS_ENDPOINT_URL=emulator.url,
            AWS_DEFAULT_REGION="us-east-1",
            AIRFLOW_CONN_AWS_DEFAULT=format_connection(world),
            AIRFLOW__CORE__DAGS_FOLDER=str(FILE.parent),
            # Variables come from a secrets backend, and change while tasks wait.
            AIRFLOW__SECRETS__BACKEND=BACKEND,
            AIRFLOW__SECRETS__BACKEND_KWARGS=json.dumps(found),
            AIRFLOW__WORKERS__SECRETS_BACKEND=BACKEND,
            AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS=json.dumps(found),
            **more,
        )
        self.conf = {
            "role_arn": world.role,
            "membership": self.studio.membership,
            "association": self.studio.association,
            "channel": self.studio.channel,
            "failed_channel": self._start_failing_channel(),
            "terms": world.create_configured_model(),
            "collaboration": self.studio.collaboration.id,
        }
        world.add_fault("CreateMLInputChannel", "fail_job", code="QUERY_FAILED", message=ENGINE)
        world.add_fault("CreateTrainedModel", "fail_job", code="ALGORITHM_ERROR", message=CONTAINER)

    def set_variables(self, **values: str) -> None:
        """Replace Airflow's Variables atomically."""
        written = self._variables.with_suffix(".new")
        written.write_text(json.dumps(values))
        written.replace(self._variables)

    def _start_failing_channel(self) -> str:
        self.studio.world.add_fault("CreateMLInputChannel", "fail_job", code="QUERY_FAILED", message=ENGINE)
        response = self.studio.ml.create_ml_input_channel(
            **self.studio.of,
            name="failed",
            configuredModelAlgorithmAssociations=[self.studio.association],
            inputChannel=self.studio.build_input_channel(QUERY),
            retentionInDays=1,
        )
        return str(response["mlInputChannelArn"])

    def find_markers(self) -> Iterator[str]:
        """Find every file and table that contains a marker."""
        for path in self.airflow.home.rglob("*"):
            if path.is_file() and path.suffix not in (".db", ".db-wal", ".db-shm", ".cfg"):
                text = path.read_text(errors="replace")
                yield from (f"{marker} in {path}: {_quote(text, marker)}" for marker in MARKERS if marker in text)
        tables = self.airflow.query("select name from sqlite_master where type = 'table'")
        yield from self.find_markers_in({name for (name,) in tables} - set(SOURCE))

    def find_markers_in(self, tables: Iterable[str]) -> Iterator[str]:
        """Find the tables that contain a marker."""
        with closing(sqlite3.connect(self.airflow.home / "airflow.db")) as database:
            for table in tables:
                text = repr(database.execute(f"select * from {table}").fetchall())
                yield from (f"{marker} in {table}: {_quote(text, marker)}" for marker in MARKERS if marker in text)


def _quote(text: str, marker: str) -> str:
    place = text.index(marker)
    return text[max(0, place - 300) : place + 100]


def read_states(airflow: Deployment) -> dict[str, str]:
    return dict(airflow.query("select task_id, state from task_instance"))


def build_expected_states(found: dict[str, str]) -> dict[str, str]:
    """Build the expected states; ``sensed`` may have no ARN because the task before it fails."""
    return {
        task: "failed" if task in FAILED else "upstream_failed" if task == "sensed" else "success" for task in found
    }


def test_no_marker_shows_in_worker(emulator: EmulatorProcess, tmp_path: Path) -> None:
    events = tmp_path.with_name(f"{tmp_path.name}-lineage.ndjson")
    case = Case(emulator, tmp_path, **record_lineage(events))
    tasks = case.airflow.run(FILE, "confidential", case.conf)["tasks"]
    found = {task: result["state"] for task, result in tasks.items()}
    log = case.airflow.run_log
    assert found == build_expected_states(found), log[-6000:]
    assert list(case.find_markers()) == []
    # The redacted texts still explain the errors.
    assert "QUERY_FAILED" in log
    assert "ALGORITHM_ERROR" in log
    assert "login as *** was refused" in log
    assert "input_channel: its template cannot be rendered" in log
    called = tasks["called"]["xcom"]["return_value"]
    assert called["inputChannel"]["dataSource"]["protectedQueryInputParameters"]["sqlParameters"] == "***"
    lineage = events.read_text()
    assert '"ml_input_channel_arn"' in lineage
    # The lineage of a task that cannot be rendered has its templates, which are text of the Dag file.
    assert [marker for marker in MARKERS if marker in lineage] == ["marker_of_a_template"]
    rendered = dict(case.airflow.query("select task_id, rendered_fields from rendered_task_instance_fields"))
    assert json.loads(rendered["ready"])["name"] == "ready"
    assert "***" in rendered["ready"]
    assert "***" in rendered["mapped"]
    assert "***" in rendered["model_fails"]


def test_no_marker_shows_when_variables_change_during_deferral(tmp_path: Path) -> None:
    emulator = EmulatorProcess("--scale", "0.001", "--pending-seconds", "0", "--progress-seconds", "0.1")
    events: set[Any] = set()
    case = Case(emulator, tmp_path, AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE="True")
    emulator.change_settings(progress_seconds=1000)
    changed = False

    def read_final_state() -> Any:
        nonlocal changed
        events.update(case.airflow.query("select classpath from trigger"))
        assert list(case.find_markers_in(TRANSIENT)) == []
        deferred = {task for task, state in read_states(case.airflow).items() if state == "deferred"}
        if not changed and deferred >= QUOTED:
            case.set_variables(query="SELECT 1", parameter="another_parameter", environment="another_environment")
            emulator.change_settings(progress_seconds=6)
            emulator.advance(1100)
            changed = True
        return case.airflow.query("select state from dag_run where state in ('success', 'failed')")

    try:
        case.airflow.start()
        case.airflow.wait_until(
            lambda: case.airflow.query("select 1 from serialized_dag where dag_id = 'confidential'")
        )
        User(case.airflow).start_run("confidential", case.conf)
        case.airflow.wait_until(read_final_state)
    finally:
        case.airflow.stop()
        emulator.stop()
    found = read_states(case.airflow)
    assert found == build_expected_states(found), case.airflow.describe_failures()
    assert ("airflow_cleanroomsml.triggers.CleanRoomsMLWaitTrigger",) in events
    assert list(case.find_markers()) == []
    assert "QUERY_FAILED" in case.airflow.read_task_log("fails")
    assert "protected query" in case.airflow.read_task_log("fails")
    assert "login as *** was refused" in case.airflow.read_task_log("model_fails")
