"""
The service on this machine: AWS Clean Rooms ML over HTTP, on real data, without an AWS account.

Start it with ``python -m airflow_cleanroomsml.emulator`` and point boto3 at it by ``AWS_ENDPOINT_URL``. Requests signed for
``cleanrooms-ml`` and ``cleanrooms`` are answered here; S3, Glue, IAM, STS and whatever else a pipeline needs by moto, in the same
process. An access key of twelve digits is the account that it belongs to; any other key is moto's affair.
"""

from __future__ import annotations

__all__: list[str] = []
