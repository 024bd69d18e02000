"""Formats the shell lines with which Airflow uses the sample, and the commands that run the example Dags."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REGION = "us-east-1"
#: Accounts, buckets and roles have the names in the README and the example Dags, so that these run unchanged.
OWNER, PARTNER = "123456789012", "210987654321"
BUCKET, PARTNER_BUCKET = "my-bucket", "seeders-bucket"
ROLE = f"arn:aws:iam::{OWNER}:role/cleanrooms-ml-lookalike"
PARTNER_ROLE = f"arn:aws:iam::{PARTNER}:role/cleanrooms-ml-seed"
#: The emulator accepts any; Airflow warns that it cannot mask a shorter one in its logs.
_SIGNING_KEY = "emulator"
#: Connections of the example Dags, with their accounts.
_CONNECTIONS = {"AWS_DEFAULT": OWNER, "AWS_PROVIDER": OWNER, "AWS_SEEDER": PARTNER}

#: From Airflow 3.1 on, this Dag waits until somebody approves its choice, which is not possible during ``airflow dags test``.
_OPTIONS = {"example_choose_size": " --mark-success-pattern approve"}


@dataclass(frozen=True)
class Sample:
    """
    What the sample consists of.

    :param users: Number of users.
    :param interactions: Number of interactions.
    :param seed_users: Number of users in the seed.
    :param training_dataset_arn: Training dataset.
    :param audience_model_arn: Audience model, ACTIVE.
    :param configured_audience_model_arn: Configured audience model for the owner's own jobs.
    :param offered_audience_model_arn: Configured audience model that is associated with the collaboration.
    :param collaboration_id: Collaboration of both accounts.
    """

    users: int
    interactions: int
    seed_users: int
    training_dataset_arn: str
    audience_model_arn: str
    configured_audience_model_arn: str
    offered_audience_model_arn: str
    collaboration_id: str


def format_instructions(url: str, sample: Sample) -> str:
    """
    Format shell lines that export the connections and Airflow Variables, with all else as comments.

    :param url: URL of the emulator.
    :param sample: The sample.
    """
    heading = (
        f"# Sample: {sample.interactions:,} interactions of {sample.users:,} users, a seed of {sample.seed_users:,}; "
        f"account {OWNER}, its partner {PARTNER}. In another shell:"
    )
    exports = [f"export {name}={shlex.quote(value)}" for name, value in _list_variables(url, sample).items()]
    runs = [
        f"#   airflow dags test {dag}{_OPTIONS.get(dag, '')}{_format_conf(conf)}"
        for dag, conf in _list_runs(sample).items()
    ]
    return "\n".join([heading, *exports, "# Then run the README's Dag, or one of the example Dags:", *runs])


def _list_variables(url: str, sample: Sample) -> dict[str, str]:
    connections = {
        f"AIRFLOW_CONN_{name}": json.dumps(
            {"conn_type": "aws", "login": account, "password": _SIGNING_KEY, "extra": {"region_name": REGION}}
        )
        for name, account in _CONNECTIONS.items()
    }
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": OWNER,
        "AWS_SECRET_ACCESS_KEY": _SIGNING_KEY,
        **connections,
        "AIRFLOW_VAR_TRAINING_DATASET_ARN": sample.training_dataset_arn,
        "AIRFLOW_VAR_AUDIENCE_MODEL_ARN": sample.audience_model_arn,
        "AIRFLOW_VAR_CONFIGURED_AUDIENCE_MODEL_ARN": sample.configured_audience_model_arn,
        "AIRFLOW_VAR_OFFERED_AUDIENCE_MODEL_ARN": sample.offered_audience_model_arn,
        "AIRFLOW_VAR_COLLABORATION_ID": sample.collaboration_id,
    }


def _list_runs(sample: Sample) -> dict[str, Mapping[str, Any]]:
    """Return the conf of each Dag; for other parameters, the defaults in the Dag match the sample."""
    configured = {"configured_audience_model_arn": sample.configured_audience_model_arn}
    retraining = {**configured, "training_dataset_arn": sample.training_dataset_arn}
    seed = {"role_arn": ROLE, "seed_uri": f"s3://{BUCKET}/seed/users.jsonl"}
    return {
        "weekly_audience": {},
        "example_lookalike_audience": {},
        "example_choose_size": {**configured, "min_relevance": -1},
        "example_many_segments": configured,
        "example_lookalike_two_parties": {**configured, "collaboration": sample.collaboration_id},
        "example_lookalike_terms": {**configured, "audience_model_arn": sample.audience_model_arn},
        "example_weekly_retraining": retraining,
        "example_task_groups": {**retraining, **seed},
    }


def _format_conf(conf: Mapping[str, Any]) -> str:
    return f" --conf {shlex.quote(json.dumps(conf))}" if conf else ""
