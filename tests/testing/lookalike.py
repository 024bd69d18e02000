"""The steps of a lookalike pipeline by plain boto3."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.testing import Account
from tests.support import SCHEMA

INTERACTIONS = [
    {"user_id": f"u{n % 200}", "item_id": f"i{n * n % 37}", "timestamp": 1_760_000_000 + n} for n in range(2000)
]
SEED = [f"u{n}" for n in range(0, 60, 2)]


def create_dataset(account: Account, source: dict[str, Any], name: str = "dataset") -> str:
    """Create a training dataset of a table."""
    data = {"type": "INTERACTIONS", "inputConfig": {"schema": SCHEMA, "dataSource": source}}
    arn: str = account.client("cleanroomsml").create_training_dataset(
        name=name, roleArn=account.build_role_arn(), trainingData=[data]
    )["trainingDatasetArn"]
    return arn


def train(account: Account, source: dict[str, Any]) -> str:
    """Train an audience model on a table."""
    arn: str = account.client("cleanroomsml").create_audience_model(
        name="model", trainingDatasetArn=create_dataset(account, source)
    )["audienceModelArn"]
    return arn


def describe_model(account: Account, arn: str) -> tuple[str, str]:
    """Return the status of an audience model, and why it failed."""
    model = account.client("cleanroomsml").get_audience_model(audienceModelArn=arn)
    return model["status"], model.get("statusDetails", {}).get("message", "")


def generate(account: Account, model: str, seed: dict[str, str]) -> str:
    """Generate an audience, and return the ARN of the job."""
    ml, role = account.client("cleanroomsml"), account.build_role_arn()
    destination = {"s3Destination": {"s3Uri": f"s3://{account.bucket}/audiences"}}
    configured = ml.create_configured_audience_model(
        name="configured",
        audienceModelArn=model,
        outputConfig={"destination": destination, "roleArn": role},
        sharedAudienceMetrics=["ALL"],
    )["configuredAudienceModelArn"]
    arn: str = ml.start_audience_generation_job(
        name="job", configuredAudienceModelArn=configured, seedAudience={"dataSource": seed, "roleArn": role}
    )["audienceGenerationJobArn"]
    return arn
