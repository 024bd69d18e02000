"""
Go back to an earlier lookalike model: one task.

It replaces one model with another, and does nothing if a third one is in service, so an old run can be cleared, too.
"""

from __future__ import annotations

import pendulum
from airflow import DAG

from airflow_cleanroomsml.operators import CleanRoomsMLPromoteAudienceModelOperator

ARN = "arn:aws:cleanrooms-ml:us-east-1:123456789012"
ANY = "00000000-0000-4000-8000-000000000000"

with DAG(
    "example_weekly_retraining_rollback",
    description="Put an earlier audience model back into service",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cleanroomsml"],
    params={
        "configured_audience_model_arn": f"{ARN}:configured-audience-model/{ANY}",
        "audience_model_arn": f"{ARN}:audience-model/{ANY}",
        "instead_of": f"{ARN}:audience-model/{ANY}",
    },
    doc_md="""
### Roll back

`audience_model_arn` is the model to go back to: the task `prune` of a weekly run returns those that are kept. `instead_of` is the model to
replace, which is in service now. The next weekly run replaces the model again. Clearing the run of the bad model would put it back into
service: delete the model to prevent that.
""",
) as dag:
    roll_back = CleanRoomsMLPromoteAudienceModelOperator(
        task_id="roll_back",
        configured_audience_model_arn="{{ params.configured_audience_model_arn }}",
        audience_model_arn="{{ params.audience_model_arn }}",
        instead_of="{{ params.instead_of }}",
    )


if __name__ == "__main__":
    dag.test()
