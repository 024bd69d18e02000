from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.dags.airflow_user import User
from tests.helpers.deployment import IS_3, ROOT, Deployment
from tests.support import EmulatorProcess, World

DAG_ID = "example_lookalike_audience"


def build_environment(world: World) -> dict[str, str]:
    """Build the environment variables that point boto3 to the account."""
    return {
        "AWS_ENDPOINT_URL": world.emulator.url,
        "AWS_ACCESS_KEY_ID": world.account,
        "AWS_SECRET_ACCESS_KEY": "secret",
    }


def build_conf(world: World) -> dict[str, str]:
    return {
        "role_arn": world.role,
        "seed_uri": world.write_seed()["dataSource"]["s3Uri"],
        "output_uri": f"s3://{world.bucket}/audiences",
    }


def test_all_examples_are_parsed_and_deferred_run_succeeds(tmp_path: Path) -> None:
    # Jobs take long enough for the scheduler to see the deferral before the trigger fires: it fails a task whose end it learns of
    # when the task is already queued again.
    slow = EmulatorProcess("--scale", "0.001", "--pending-seconds", "2", "--progress-seconds", "6")
    world = World(slow).build()
    airflow = Deployment(tmp_path, AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE="True", **build_environment(world))
    deferred: set[str] = set()

    def read_final_state() -> list[tuple[Any, ...]]:
        found = airflow.query("select task_id from task_instance where dag_id = ? and state = 'deferred'", DAG_ID)
        deferred.update(task for (task,) in found)
        return airflow.query("select state from dag_run where dag_id = ? and state in ('success', 'failed')", DAG_ID)

    try:
        airflow.start()
        examples = {path.stem for path in (ROOT / "example_dags").glob("*.py")}
        parsed = "select distinct dag.fileloc from dag join serialized_dag on serialized_dag.dag_id = dag.dag_id"
        # A file may have more than one Dag.
        airflow.wait_until(lambda: {Path(file).stem for (file,) in airflow.query(parsed)} == examples)
        assert airflow.query("select * from import_error") == []
        User(airflow).start_run(DAG_ID, build_conf(world))
        assert airflow.wait_until(read_final_state) == [("success",)], airflow.describe_failures()
    finally:
        airflow.stop()
        slow.stop()
    assert deferred == {"create_model", "generate", "export"}
    (entry,) = airflow.query("select value from xcom where task_id = 'export' and key = 'return_value'")
    assert f"s3://{world.bucket}/audiences/" in (entry[0] if IS_3 else entry[0].decode())
    log = airflow.read_task_log("create_model")
    assert "CREATE_IN_PROGRESS" in log
    assert "ACTIVE after" in log
