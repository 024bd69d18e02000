"""
Local emulator of AWS Clean Rooms ML: it serves the API over HTTP and trains on real data, without an AWS account.

Start it with ``python -m airflow_cleanroomsml.emulator`` and point boto3 at it with ``AWS_ENDPOINT_URL``. It answers requests signed for
``cleanrooms-ml`` and ``cleanrooms`` itself. moto, in the same process, answers requests for S3, Glue, IAM, STS and all other services.
An access key of twelve digits selects the account with that id; moto resolves all other keys.
"""

from __future__ import annotations

__all__: list[str] = []
