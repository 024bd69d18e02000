from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.dags.airflow_user import User
from tests.helpers.deployment import IS_3, ROOT, Deployment
from tests.support import EmulatorProcess, World

DAG_ID = "example_lookalike_audience"


def aws(world: World) -> dict[str, str]:
    """Where the tasks find the account."""
    return {
        "AWS_ENDPOINT_URL": world.emulator.url,
        "AWS_ACCESS_KEY_ID": world.account,
        "AWS_SECRET_ACCESS_KEY": "secret",
    }


def conf(world: World) -> dict[str, str]:
    return {
        "role_arn": world.role,
        "seed_uri": world.write_seed()["dataSource"]["s3Uri"],
        "output_uri": f"s3://{world.bucket}/audiences",
    }


def test_all_examples_are_parsed_and_it_passes_deferred_through_a_real_triggerer(tmp_path: Path) -> None:
    # Long enough for the scheduler to see that a task has deferred before its trigger fires: it fails a task whose end it hears of
    # when it is queued again already.
    slow = EmulatorProcess("--scale", "0.001", "--pending-seconds", "2", "--progress-seconds", "6")
    world = World(slow).build()
    airflow = Deployment(tmp_path, AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE="True", **aws(world))
    deferred: set[str] = set()

    def state() -> list[tuple[Any, ...]]:
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
        User(airflow).start_run(DAG_ID, conf(world))
        assert airflow.wait_until(state) == [("success",)], airflow.describe_failures()
    finally:
        airflow.stop()
        slow.stop()
    assert deferred == {"create_model", "generate", "export"}
    (entry,) = airflow.query("select value from xcom where task_id = 'export' and key = 'return_value'")
    assert f"s3://{world.bucket}/audiences/" in (entry[0] if IS_3 else entry[0].decode())
    log = airflow.read_task_log("create_model")
    assert "CREATE_IN_PROGRESS" in log
    assert "ACTIVE after" in log
