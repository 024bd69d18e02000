"""
Retrain a lookalike model every week behind the same configured audience model.

AWS does not retrain models automatically, and recommends retraining weekly (user guide, working-with-machine-learning-tdp). Any task, and
any run as a whole, can be cleared at any time: nothing newer is replaced or deleted.
"""

from __future__ import annotations

import pendulum
from airflow import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_cleanroomsml.operators import (
    CleanRoomsMLCheckAudienceModelAgeOperator,
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLPromoteAudienceModelOperator,
    CleanRoomsMLPruneAudienceModelsOperator,
)

try:
    from airflow.sdk import AssetAlias
except ImportError:  # Airflow 2.11
    from airflow.datasets import DatasetAlias as AssetAlias

# A run that was triggered manually may have no logical date and no data interval: it trains on everything up to now.
RUN = "{{ (dag_run.logical_date or dag_run.run_after).strftime('%Y%m%dT%H%M%S') }}"
START = "{{ dag_run.data_interval_start }}"
END = "{{ dag_run.data_interval_end }}"
PREFIX = "weekly-"
ARN = "arn:aws:cleanrooms-ml:us-east-1:123456789012"
ANY = "00000000-0000-4000-8000-000000000000"

with DAG(
    "example_weekly_retraining",
    description="Replace the audience model behind a configured audience model every week",
    # Not "@weekly": in Airflow 3 such a run has an empty data interval, unless [scheduler] create_cron_data_intervals is set.
    schedule=CronDataIntervalTimetable("0 0 * * 0", timezone="UTC"),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    # The API has no conditional update: two runs must not promote at the same moment.
    max_active_runs=1,
    # Training costs money: set the parameters first, then unpause it.
    is_paused_upon_creation=True,
    tags=["example", "cleanroomsml"],
    params={
        "training_dataset_arn": f"{ARN}:training-dataset/{ANY}",
        "configured_audience_model_arn": f"{ARN}:configured-audience-model/{ANY}",
        "keep": 4,
    },
    doc_md="""
### Weekly retraining

| task | does | if it fails |
| --- | --- | --- |
| `check` | skips the rest if the model in service is as recent as this run's data | nothing was paid for |
| `train` | trains a model on the run's data interval | last week's model stays in service |
| `promote` | puts it into service, unless a newer one is there | last week's model stays in service |
| `prune` | deletes all but the newest models | the next week prunes |

Any task and any run can be cleared. To go back to an earlier model run `example_weekly_retraining_rollback`.
""",
) as dag:
    check = CleanRoomsMLCheckAudienceModelAgeOperator(
        task_id="check",
        configured_audience_model_arn="{{ params.configured_audience_model_arn }}",
        training_data_end_time="{{ dag_run.data_interval_end or dag_run.run_after }}",
    )
    train = CleanRoomsMLCreateAudienceModelOperator(
        task_id="train",
        name=PREFIX + RUN,
        training_dataset_arn="{{ params.training_dataset_arn }}",
        training_data_start_time=START,
        training_data_end_time=END,
        if_exists="reuse",
    )
    promote = CleanRoomsMLPromoteAudienceModelOperator(
        task_id="promote",
        configured_audience_model_arn="{{ params.configured_audience_model_arn }}",
        audience_model_arn=train.output,
        # Receives an event only if the model was put into service; example_model_retrained is scheduled by it.
        outlets=[AssetAlias("lookalike-model-in-service")],
    )
    prune = CleanRoomsMLPruneAudienceModelsOperator(
        task_id="prune",
        keep="{{ params.keep }}",
        training_dataset_arn="{{ params.training_dataset_arn }}",
        name_prefix=PREFIX,
        not_newer_than=train.output,
    )

    check >> train >> promote >> prune


if __name__ == "__main__":
    dag.test()
