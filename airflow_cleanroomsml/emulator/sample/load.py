"""Loads the sample into a running emulator through its API, as real data would be."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

import boto3
from botocore.config import Config

from airflow_cleanroomsml.emulator.sample.instructions import (
    BUCKET,
    OWNER,
    PARTNER,
    PARTNER_BUCKET,
    PARTNER_ROLE,
    REGION,
    ROLE,
    Sample,
)
from airflow_cleanroomsml.emulator.sample.interactions import TASTES, Interactions, generate
from airflow_cleanroomsml.emulator.sample.upload import DATABASE, TABLE, upload_interactions, upload_seed

#: As many as ``example_many_segments.py`` reads.
_SEGMENTS = 25
_INTERACTIONS_PER_USER = 10
#: So that a retraining on the last complete week of data is due.
_UNTRAINED = timedelta(days=14)
#: The schema of ``example_lookalike_audience.py``, so that this example reuses the training dataset.
_SCHEMA = [
    {"columnName": "user_id", "columnTypes": ["USER_ID"]},
    {"columnName": "item_id", "columnTypes": ["ITEM_ID"]},
    {"columnName": "timestamp", "columnTypes": ["TIMESTAMP"]},
    {"columnName": "event_type", "columnTypes": ["CATEGORICAL_FEATURE"]},
    {"columnName": "event_value", "columnTypes": ["NUMERICAL_FEATURE"]},
]
_TRUST = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", '
    '"Principal": {"Service": "cleanrooms-ml.amazonaws.com"}}]}'
)
#: What the user guide lists for the roles of training data, seeds and exports (ml-roles), in short.
_PERMISSIONS = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*", "Action": ["glue:Get*", "glue:CreateDatabase", '
    '"s3:GetBucketLocation", "s3:GetObject", "s3:ListBucket", "s3:PutObject"]}]}'
)


class SampleError(Exception):
    """The sample cannot be loaded."""


class _Party:
    """
    An account in the emulator.

    :param url: URL of the emulator.
    :param account: Account number.
    """

    def __init__(self, url: str, account: str) -> None:
        session: Any = boto3.session.Session(account, "any", region_name=REGION)
        # A proxy cannot reach the emulator on this machine.
        config = Config(s3={"addressing_style": "path"}, proxies={})
        self.build_client = partial(session.client, endpoint_url=url, config=config)
        self.s3 = self.build_client("s3")

    def create_bucket_and_role(self, bucket: str, role: str) -> None:
        """Create a bucket, and a role that Clean Rooms ML may assume and that has access to Glue and S3."""
        self.s3.create_bucket(Bucket=bucket)
        iam, name = self.build_client("iam"), role.rpartition("/")[2]
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=_TRUST)
        iam.put_role_policy(RoleName=name, PolicyName="read", PolicyDocument=_PERMISSIONS)


def load_sample(url: str, users: int) -> Sample:
    """
    Generate the interactions of some users up to today, upload them, train a model and create what the example Dags need.

    :param url: URL of the emulator.
    :param users: Number of users.
    :raises SampleError: The training of the model failed.
    """
    owner, partner = _Party(url, OWNER), _Party(url, PARTNER)
    today = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    data = generate(_INTERACTIONS_PER_USER * users, users, end=int(today.timestamp()))
    owner.create_bucket_and_role(BUCKET, ROLE)
    partner.create_bucket_and_role(PARTNER_BUCKET, PARTNER_ROLE)
    upload_interactions(owner.s3, owner.build_client("glue"), BUCKET, data)
    seed_size = _upload_seeds(owner, partner, data)
    ml = owner.build_client("cleanroomsml")
    source = {"glueDataSource": {"databaseName": DATABASE, "tableName": TABLE}}
    dataset = ml.create_training_dataset(
        name="lookalike-interactions",
        roleArn=ROLE,
        trainingData=[{"type": "INTERACTIONS", "inputConfig": {"schema": _SCHEMA, "dataSource": source}}],
    )["trainingDatasetArn"]
    model = _train(ml, dataset, today - _UNTRAINED)
    configured, offered = (_configure(ml, name, model) for name in ("sample", "sample-offered"))
    return Sample(
        users=users,
        interactions=len(data.user),
        seed_users=seed_size,
        training_dataset_arn=dataset,
        audience_model_arn=model,
        configured_audience_model_arn=configured,
        offered_audience_model_arn=offered,
        collaboration_id=_collaborate(owner, partner, offered),
    )


def _upload_seeds(owner: _Party, partner: _Party, data: Interactions) -> int:
    """Upload a seed for each party and one per segment; returns the number of users in each party's seed."""
    # As in the demo: three in a hundred users have the taste, and a third of them are the seed.
    taste = data.find_taste(len(data.user_ids) * 3 // 100)
    seed = data.draw_seed(taste, min(len(data.user_ids) // 100, len(data.list_held_out(taste)) - 1))
    for party, bucket in ((owner, BUCKET), (partner, PARTNER_BUCKET)):
        upload_seed(party.s3, bucket, "seed/users.jsonl", seed)
    for number in range(_SEGMENTS):
        # There is one taste fewer than segments, so the last segment has the seed of the first.
        users = data.list_held_out(number % TASTES)[: len(seed)]
        upload_seed(owner.s3, BUCKET, f"seeds/segment-{number + 1:02}.jsonl", users)
    return len(seed)


def _train(ml: Any, dataset: str, end: datetime) -> str:
    arn: str = ml.create_audience_model(name="sample", trainingDatasetArn=dataset, trainingDataEndTime=end)[
        "audienceModelArn"
    ]
    while (model := ml.get_audience_model(audienceModelArn=arn))["status"] in {"CREATE_PENDING", "CREATE_IN_PROGRESS"}:
        time.sleep(0.1)
    if model["status"] != "ACTIVE":
        raise SampleError(
            f"The sample was not loaded: its audience model is {model['status']}. {model['statusDetails']['message']}"
        )
    return arn


def _configure(ml: Any, name: str, model: str) -> str:
    arn: str = ml.create_configured_audience_model(
        name=name,
        audienceModelArn=model,
        outputConfig={"destination": {"s3Destination": {"s3Uri": f"s3://{BUCKET}/audiences"}}, "roleArn": ROLE},
        sharedAudienceMetrics=["ALL"],
        audienceSizeConfig={"audienceSizeType": "PERCENTAGE", "audienceSizeBins": [1, 5, 10, 20]},
    )["configuredAudienceModelArn"]
    return arn


def _collaborate(owner: _Party, partner: _Party, offered: str) -> str:
    """Create a collaboration that both join, and associate a configured audience model; returns its identifier."""
    identifier: str = owner.build_client("cleanrooms").create_collaboration(
        name="sample",
        description="A lookalike model of one member, a seed of the other",
        creatorDisplayName="provider",
        creatorMemberAbilities=[],
        members=[
            {
                "accountId": PARTNER,
                "displayName": "seeder",
                "memberAbilities": ["CAN_QUERY", "CAN_RECEIVE_RESULTS"],
            }
        ],
        queryLogStatus="DISABLED",
    )["collaboration"]["id"]
    memberships = [
        party.build_client("cleanrooms").create_membership(
            collaborationIdentifier=identifier, queryLogStatus="DISABLED"
        )
        for party in (owner, partner)
    ]
    owner.build_client("cleanrooms").create_configured_audience_model_association(
        membershipIdentifier=memberships[0]["membership"]["id"],
        configuredAudienceModelArn=offered,
        configuredAudienceModelAssociationName="sample-offered",
        manageResourcePolicies=True,
    )
    return identifier
