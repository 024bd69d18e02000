"""
Change what a partner may use: the audience model behind a configured audience model, the policy, the tags.

The configured audience model keeps its ARN, so nothing changes for its users.
"""

from __future__ import annotations

import json

import pendulum
from airflow import DAG

from airflow_cleanroomsml.operators import (
    CleanRoomsMLPutConfiguredAudienceModelPolicyOperator,
    CleanRoomsMLTagResourceOperator,
    CleanRoomsMLUntagResourceOperator,
    CleanRoomsMLUpdateConfiguredAudienceModelOperator,
)
from airflow_cleanroomsml.sensors import CleanRoomsMLAudienceModelSensor

ARN = "arn:aws:cleanrooms-ml:us-east-1:123456789012"
ANY = "00000000-0000-4000-8000-000000000000"

with DAG(
    "example_lookalike_terms",
    description="Offer a partner another audience model, with another policy",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cleanroomsml"],
    params={
        "configured_audience_model_arn": f"{ARN}:configured-audience-model/{ANY}",
        "audience_model_arn": f"{ARN}:audience-model/{ANY}",
        "partner": "210987654321",
    },
    doc_md="""
### Terms of a lookalike model

Waits until an audience model is trained, offers it in place of the current one, and lets the partner start generation jobs. To retrain a
model every week, use `example_weekly_retraining`, which never replaces a newer model.
""",
) as dag:
    trained = CleanRoomsMLAudienceModelSensor(
        task_id="trained",
        audience_model_arn="{{ params.audience_model_arn }}",
        mode="reschedule",
        poke_interval=5,
        timeout=50 * 3600,
    )
    update = CleanRoomsMLUpdateConfiguredAudienceModelOperator(
        task_id="update",
        configured_audience_model_arn="{{ params.configured_audience_model_arn }}",
        audience_model_arn=trained.output,
        shared_audience_metrics=["ALL"],
    )
    allow = CleanRoomsMLPutConfiguredAudienceModelPolicyOperator(
        task_id="allow",
        configured_audience_model_arn="{{ params.configured_audience_model_arn }}",
        configured_audience_model_policy=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"AWS": "{{ params.partner }}"},
                        "Action": "cleanrooms-ml:StartAudienceGenerationJob",
                        "Resource": "*",
                    }
                ],
            }
        ),
    )
    mark = CleanRoomsMLTagResourceOperator(
        task_id="mark",
        resource_arn="{{ params.configured_audience_model_arn }}",
        tags={"offered-by": "{{ run_id }}"},
    )
    unmark = CleanRoomsMLUntagResourceOperator(
        task_id="unmark",
        resource_arn="{{ params.configured_audience_model_arn }}",
        tag_keys=["offer-requested"],
    )

    update >> [allow, mark, unmark]


if __name__ == "__main__":
    dag.test()
