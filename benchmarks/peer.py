"""The peer: a deferrable operator's trigger as the amazon provider writes them, a waiter over aiobotocore for each."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.triggers.base import AwsBaseWaiterTrigger


def _accepts(status: str, state: str) -> dict[str, str]:
    return {"matcher": "path", "argument": "status", "expected": status, "state": state}


_WAITERS = {
    "version": 2,
    "waiters": {
        "audience_generation_job_active": {
            "operation": "GetAudienceGenerationJob",
            "delay": 5,
            "maxAttempts": 10_000,
            "acceptors": [
                _accepts("ACTIVE", "success"),
                _accepts("CREATE_FAILED", "failure"),
                _accepts("CREATE_PENDING", "retry"),
                _accepts("CREATE_IN_PROGRESS", "retry"),
            ],
        }
    },
}


@cache
def _file() -> Path:
    path = Path(tempfile.mkdtemp(prefix="waiters-")) / "cleanroomsml.json"
    path.write_text(json.dumps(_WAITERS))
    return path


class PeerHook(AwsBaseHook):
    """The hook of the peer."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "client_type": "cleanroomsml"})

    @property
    def waiter_path(self) -> Path:
        """Where the waiter is described; the amazon provider's are in its own directory."""
        return _file()


class PeerTrigger(AwsBaseWaiterTrigger):
    """
    Wait until an audience generation job has ended.

    :param audience_generation_job_arn: The job.
    :param waiter_delay: Seconds between two looks.
    """

    aws_hook_class = PeerHook

    def __init__(self, *, audience_generation_job_arn: str, waiter_delay: int) -> None:
        super().__init__(
            serialized_fields={"audience_generation_job_arn": audience_generation_job_arn},
            waiter_name="audience_generation_job_active",
            waiter_args={"audienceGenerationJobArn": audience_generation_job_arn},
            failure_message="The job has failed",
            status_message="Status of the job",
            status_queries=["status"],
            return_value=audience_generation_job_arn,
            waiter_delay=waiter_delay,
            waiter_max_attempts=10_000,
        )
