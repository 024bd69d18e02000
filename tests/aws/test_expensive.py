"""The lookalike example, from the Glue table to the audience in S3: on AWS many hours, billed by profiles."""

from __future__ import annotations

from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from demo.airflow_run import load_dag
from tests.aws.account import Account
from tests.aws.created_resources import MARK, Bench, sweep
from tests.helpers.deployment import ROOT
from tests.support import TaskInstance, run

DAG_ID = "example_lookalike_audience"


class DownstreamTaskInstance(TaskInstance):
    """A task instance that pulls the results of upstream tasks."""

    def __init__(self, results: dict[str, Any]) -> None:
        super().__init__()
        self._results = results

    def xcom_pull(self, task_ids: str, **_: Any) -> Any:
        return self._results[task_ids]

    def get_relevant_upstream_map_indexes(self, *_: Any, **__: Any) -> None:
        """No task of the example is mapped."""


def run_example(params: dict[str, str]) -> dict[str, Any]:
    """Run the example's tasks one after the other, and return their results."""
    results: dict[str, Any] = {}
    dag_run = SimpleNamespace(logical_date=datetime.now(timezone.utc))
    for task in load_dag(str(ROOT / "example_dags" / f"{DAG_ID}.py"), DAG_ID).topological_sort():
        context = {
            "ti": DownstreamTaskInstance(results),
            "params": params,
            "dag_run": dag_run,
            "expanded_ti_count": None,
        }
        results[task.task_id] = run(task, **context).result
    return results


@pytest.mark.expensive
@pytest.mark.timeout(0)
class TestLookalike:
    def test_example_succeeds(self, account: Account, bench: Bench) -> None:
        bucket, prefix = account.read_requirement("BUCKET"), f"{MARK}-{bench.run}"
        params = {
            "prefix": prefix,
            "role_arn": account.read_requirement("ROLE_ARN"),
            "glue_database": account.read_requirement("GLUE_DATABASE"),
            "glue_table": account.read_requirement("GLUE_TABLE"),
            "seed_uri": account.read_requirement("SEED_URI"),
            "output_uri": f"s3://{bucket}/{prefix}",
        }
        bench.at_end(lambda: delete_objects(account, bucket, f"{prefix}/"))
        bench.at_end(lambda: delete_leftovers(bench.run))
        location = run_example(params)["export"]["output_location"]
        assert location.startswith(f"s3://{bucket}/{prefix}/")
        assert list_objects(account, bucket, f"{prefix}/")


def delete_leftovers(run_id: str) -> None:
    """Delete the resources of the Dag, whose names contain the run."""
    assert sweep(run_id).left == []


def list_objects(account: Account, bucket: str, prefix: str) -> list[str]:
    pages = account.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", ())]


def delete_objects(account: Account, bucket: str, prefix: str) -> None:
    """Delete the exported files."""
    for key in list_objects(account, bucket, prefix):
        account.client("s3").delete_object(Bucket=bucket, Key=key)
