"""Trainings that fail, and tasks that delete the failed models."""

from __future__ import annotations

import pendulum
from airflow import DAG

from airflow_cleanroomsml.operators import (
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLDeleteAudienceModelOperator,
)

with DAG(
    "failing", schedule=None, start_date=pendulum.datetime(2026, 1, 1), params={"dataset": "", "other_dataset": ""}
) as dag:
    for deferrable in (False, True):
        where = "deferred" if deferrable else "worker"
        train = CleanRoomsMLCreateAudienceModelOperator(
            task_id=f"{where}_train",
            name=f"{where}-train",
            training_dataset_arn="{{ params.dataset }}",
            deferrable=deferrable,
        )
        train >> CleanRoomsMLDeleteAudienceModelOperator(
            task_id=f"{where}_delete",
            audience_model_arn="{{ ti.xcom_pull('" + where + "_train', key='audience_model_arn') }}",
            trigger_rule="all_done",
            deferrable=deferrable,
        )
        silent = CleanRoomsMLCreateAudienceModelOperator(
            task_id=f"{where}_silent",
            name=f"{where}-silent",
            training_dataset_arn="{{ params.other_dataset }}",
            deferrable=deferrable,
            do_xcom_push=False,
        )
        mapped = CleanRoomsMLCreateAudienceModelOperator.partial(
            task_id=f"{where}_mapped",
            training_dataset_arn="{{ params.dataset }}",
            deferrable=deferrable,
        ).expand(name=[f"{where}-mapped-{index}" for index in range(2)])
        mapped >> CleanRoomsMLDeleteAudienceModelOperator.partial(
            task_id=f"{where}_delete_mapped", trigger_rule="all_done"
        ).expand(
            audience_model_arn=[
                "{{ ti.xcom_pull('" + where + f"_mapped', key='audience_model_arn', map_indexes={index}) }}}}"
                for index in range(2)
            ]
        )

    # With another task's output under that key.
    succeeds = CleanRoomsMLCreateAudienceModelOperator(
        task_id="succeeds", name="succeeds", training_dataset_arn="{{ params.other_dataset }}"
    )
    CleanRoomsMLDeleteAudienceModelOperator(
        task_id="delete_by_output", audience_model_arn=succeeds.output["audience_model_arn"], trigger_rule="all_done"
    )
    refused = CleanRoomsMLCreateAudienceModelOperator(
        task_id="refused", name="x" * 64, training_dataset_arn="{{ params.dataset }}"
    )
    refused >> CleanRoomsMLDeleteAudienceModelOperator(
        task_id="delete_nothing",
        audience_model_arn="{{ ti.xcom_pull('refused', key='audience_model_arn') }}",
        trigger_rule="all_done",
    )
