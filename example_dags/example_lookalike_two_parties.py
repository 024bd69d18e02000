"""
Two companies, two connections: one offers its lookalike model to a collaboration, the other finds its audience in it.

Each party sees the job under an ARN of its own account; the model's owner must poll to notice it.
"""

from __future__ import annotations

import pendulum
from airflow import DAG

from airflow_cleanroomsml.operators import (
    CleanRoomsCreateConfiguredAudienceModelAssociationOperator,
    CleanRoomsDeleteConfiguredAudienceModelAssociationOperator,
    CleanRoomsFindConfiguredAudienceModelOperator,
    CleanRoomsFindMembershipOperator,
    CleanRoomsMLDeleteAudienceGenerationJobOperator,
    CleanRoomsMLStartAudienceExportJobOperator,
    CleanRoomsMLStartAudienceGenerationJobOperator,
    CleanRoomsUpdateConfiguredAudienceModelAssociationOperator,
)
from airflow_cleanroomsml.sensors import (
    CleanRoomsMLAudienceExportJobSensor,
    CleanRoomsMLAudienceGenerationJobSensor,
    CleanRoomsMLNewAudienceGenerationJobsSensor,
)

# The time of the run; a run that was triggered manually may have no logical date.
RUN = "{{ (dag_run.logical_date or dag_run.run_after).strftime('%Y%m%dT%H%M%S') }}"
PROVIDER, SEEDER = "aws_provider", "aws_seeder"

with DAG(
    "example_lookalike_two_parties",
    description="A lookalike model offered by one account and used by another",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cleanroomsml"],
    params={
        "collaboration": "00000000-0000-4000-8000-000000000000",
        "configured_audience_model_arn": (
            "arn:aws:cleanrooms-ml:us-east-1:123456789012:configured-audience-model/00000000-0000-4000-8000-000000000000"
        ),
        "seed_uri": "s3://seeders-bucket/seed/users.jsonl",
        "seed_role_arn": "arn:aws:iam::210987654321:role/cleanrooms-ml-seed",
    },
    doc_md="""
### Two parties

`aws_provider` and `aws_seeder` are connections of two accounts, both members of the collaboration. The provider associates its
configured audience model, and Clean Rooms writes the policy that lets the members use it. The seeder looks the model up, starts a
generation job, and exports the audience to the provider's bucket. The provider waits for jobs that others have started, and sees the
same job under an ARN, and a name, of its own. In production each party has its own Dag; here one Dag has both, so that you can try it.
""",
) as dag:
    membership = CleanRoomsFindMembershipOperator(
        task_id="membership",
        collaboration_identifier="{{ params.collaboration }}",
        aws_conn_id=PROVIDER,
    )
    associate = CleanRoomsCreateConfiguredAudienceModelAssociationOperator(
        task_id="associate",
        membership_identifier=membership.output,
        configured_audience_model_arn="{{ params.configured_audience_model_arn }}",
        configured_audience_model_association_name="lookalike-" + RUN,
        manage_resource_policies=True,
        if_exists="reuse",
        aws_conn_id=PROVIDER,
    )
    describe = CleanRoomsUpdateConfiguredAudienceModelAssociationOperator(
        task_id="describe",
        membership_identifier=membership.output,
        configured_audience_model_association_identifier=associate.output,
        description="offered by run {{ run_id }}",
        aws_conn_id=PROVIDER,
    )

    find = CleanRoomsFindConfiguredAudienceModelOperator(
        task_id="find",
        collaboration_identifier="{{ params.collaboration }}",
        association_name="lookalike-" + RUN,
        aws_conn_id=SEEDER,
    )
    generate = CleanRoomsMLStartAudienceGenerationJobOperator(
        task_id="generate",
        name="segment-" + RUN,
        configured_audience_model_arn=find.output,
        collaboration_id="{{ params.collaboration }}",
        seed_audience={
            "dataSource": {"s3Uri": "{{ params.seed_uri }}"},
            "roleArn": "{{ params.seed_role_arn }}",
        },
        if_exists="reuse",
        aws_conn_id=SEEDER,
    )
    export = CleanRoomsMLStartAudienceExportJobOperator(
        task_id="export",
        name="export-" + RUN,
        audience_generation_job_arn=generate.output,
        audience_size={"type": "PERCENTAGE", "value": 10},
        wait_for_completion=False,
        if_exists="reuse",
        aws_conn_id=SEEDER,
    )
    exported = CleanRoomsMLAudienceExportJobSensor(
        task_id="exported",
        audience_generation_job_arn=generate.output,
        name="export-" + RUN,
        mode="reschedule",
        poke_interval=5,
        timeout=3600,
        aws_conn_id=SEEDER,
    )

    partners_jobs = CleanRoomsMLNewAudienceGenerationJobsSensor(
        task_id="partners_jobs",
        since="{{ dag_run.start_date }}",
        configured_audience_model_arn="{{ params.configured_audience_model_arn }}",
        collaboration_id="{{ params.collaboration }}",
        poke_interval=5,
        timeout=3600,
        aws_conn_id=PROVIDER,
    )
    partners_job = CleanRoomsMLAudienceGenerationJobSensor.partial(
        task_id="partners_job",
        poke_interval=5,
        timeout=3600,
        aws_conn_id=PROVIDER,
    ).expand(audience_generation_job_arn=partners_jobs.output)

    clear_away = CleanRoomsMLDeleteAudienceGenerationJobOperator(
        task_id="clear_away",
        audience_generation_job_arn=generate.output,
        aws_conn_id=SEEDER,
    ).as_teardown(setups=generate)
    withdraw = CleanRoomsDeleteConfiguredAudienceModelAssociationOperator(
        task_id="withdraw",
        membership_identifier=membership.output,
        configured_audience_model_association_identifier=associate.output,
        aws_conn_id=PROVIDER,
    ).as_teardown(setups=associate)

    associate >> describe >> find
    generate >> partners_jobs
    export >> exported >> clear_away >> withdraw
    partners_job >> withdraw


if __name__ == "__main__":
    dag.test()
