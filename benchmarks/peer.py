"""The peer: a trigger like those of the amazon provider's deferrable operators, with a custom waiter on aiobotocore."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.triggers.base import AwsBaseWaiterTrigger


def _build_acceptor(status: str, state: str) -> dict[str, str]:
    return {"matcher": "path", "argument": "status", "expected": status, "state": state}


_WAITERS = {
    "version": 2,
    "waiters": {
        "audience_generation_job_active": {
            "operation": "GetAudienceGenerationJob",
            "delay": 5,
            "maxAttempts": 10_000,
            "acceptors": [
                _build_acceptor("ACTIVE", "success"),
                _build_acceptor("CREATE_FAILED", "failure"),
                _build_acceptor("CREATE_PENDING", "retry"),
                _build_acceptor("CREATE_IN_PROGRESS", "retry"),
            ],
        }
    },
}


# The amazon provider loads the definition of a waiter from a file.
@cache
def _write_waiters() -> Path:
    path = Path(tempfile.mkdtemp(prefix="waiters-")) / "cleanroomsml.json"
    path.write_text(json.dumps(_WAITERS))
    return path


class PeerHook(AwsBaseHook):
    """The peer's hook."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "client_type": "cleanroomsml"})

    @property
    def waiter_path(self) -> Path:
        """Path of the waiter's definition; by default it is in the amazon provider."""
        return _write_waiters()


class PeerTrigger(AwsBaseWaiterTrigger):
    """
    Wait until an audience generation job has ended.

    :param audience_generation_job_arn: ARN of the job.
    :param waiter_delay: Seconds between two polls.
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
