from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.dags.airflow_user import User
from tests.helpers.deployment import IS_3, ROOT, Deployment
from tests.support import EmulatorProcess, World

DAG_ID = "example_lookalike_audience"
DAG_FILE = ROOT / "example_dags" / f"{DAG_ID}.py"
TASKS = ["create_dataset", "create_model", "configure_model", "generate", "export"]


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
        "seed_uri": world.seed()["dataSource"]["s3Uri"],
        "output_uri": f"s3://{world.bucket}/audiences",
    }


def pushed(run: dict[str, Any], task: str, key: str = "return_value") -> Any:
    return run["tasks"][task]["xcom"][key]


@pytest.fixture(scope="module")
def account(emulator: EmulatorProcess) -> World:
    return World(emulator).build()


@pytest.fixture(scope="module")
def airflow(account: World, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return Deployment(tmp_path_factory.mktemp("airflow"), **aws(account))


def test_airflow_lists_the_provider(airflow: Deployment) -> None:
    assert "airflow-provider-cleanroomsml" in airflow.cli("providers", "list")


def test_the_dags_serialise_without_an_import_error(airflow: Deployment) -> None:
    airflow.cli("dags", "reserialize")
    assert airflow.rows("select * from import_error") == []
    assert "No data found" in airflow.cli("dags", "list-import-errors")
    examples = {path.stem for path in (ROOT / "example_dags").glob("*.py")}
    assert {dag_id for (dag_id,) in airflow.rows("select dag_id from serialized_dag")} == examples


def test_a_second_run_right_after_the_first_works(airflow: Deployment, account: World) -> None:
    first, second = (airflow.run(DAG_FILE, DAG_ID, conf(account)) for _ in range(2))
    for run in (first, second):
        assert {task: run["tasks"][task]["state"] for task in TASKS} == dict.fromkeys(TASKS, "success")
        assert pushed(run, "create_model").startswith(
            f"arn:aws:cleanrooms-ml:us-east-1:{account.account}:audience-model/"
        )
        assert pushed(run, "export")["audience_generation_job_arn"] == pushed(run, "generate")
        assert pushed(run, "export")["output_location"].startswith(f"s3://{account.bucket}/audiences/")
        assert pushed(run, "generate", "metrics")["recallMetric"] > 0.3
    assert pushed(first, "create_dataset") == pushed(second, "create_dataset")
    assert pushed(first, "create_model") != pushed(second, "create_model")
    job = account.ml.get_audience_generation_job(audienceGenerationJobArn=pushed(first, "generate"))
    assert job["configuredAudienceModelArn"] == pushed(first, "configure_model")


def test_it_passes_deferred_through_a_real_triggerer(tmp_path: Path) -> None:
    # Long enough for the scheduler to see that a task has deferred before its trigger fires: it fails a task whose end it hears of
    # when it is queued again already.
    slow = EmulatorProcess("--scale", "0.001", "--pending-seconds", "2", "--progress-seconds", "6")
    world = World(slow).build()
    airflow = Deployment(tmp_path, AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE="True", **aws(world))
    deferred: set[str] = set()

    def state() -> list[tuple[Any, ...]]:
        found = airflow.rows("select task_id from task_instance where state = 'deferred'")
        deferred.update(task for (task,) in found)
        return airflow.rows("select state from dag_run where state in ('success', 'failed')")

    try:
        airflow.start()
        airflow.until(lambda: airflow.rows("select 1 from serialized_dag where dag_id = ?", DAG_ID))
        User(airflow).starts(DAG_ID, conf(world))
        assert airflow.until(state) == [("success",)], airflow.failures()
    finally:
        airflow.stop()
        slow.stop()
    assert deferred == {"create_model", "generate", "export"}
    (entry,) = airflow.rows("select value from xcom where task_id = 'export' and key = 'return_value'")
    assert f"s3://{world.bucket}/audiences/" in (entry[0] if IS_3 else entry[0].decode())
    log = airflow.task_log("create_model")
    assert "CREATE_IN_PROGRESS" in log
    assert "ACTIVE after" in log
