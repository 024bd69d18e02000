"""Exports an audience to S3."""

from __future__ import annotations

import json

from airflow_cleanroomsml._training_data.clients import S3Client
from airflow_cleanroomsml._training_data.limits import DataRules
from airflow_cleanroomsml._training_data.storage import Location, write
from airflow_cleanroomsml.emulator.lookalike.audience import GeneratedAudience, Size
from airflow_cleanroomsml.emulator.lookalike.failures import JobFailure, StatusCode, translate_findings

#: Gives files of about 30 MB.
_USERS_PER_PART = 1_000_000


def export(s3: S3Client, audience: GeneratedAudience, *, size: Size, output_uri: str, rules: DataRules) -> str:
    """
    Write an audience as JSON lines ``{"user_id": "…"}``, the most similar user first.

    :param s3: Client with write access to the output location.
    :param audience: The audience.
    :param size: One of the sizes that it was generated for.
    :param output_uri: S3 prefix that no other job writes to; the files are named ``part-00000.jsonl`` and so on, in order.
    :param rules: Minimum size of an exported audience.
    :return: The prefix, with a trailing slash.
    :raises JobFailure: The size is not configured or too small, or S3 rejects a request.
    """
    count = audience.counts.get(size)
    if count is None:
        allowed = ", ".join(f"{value:,} ({kind})" for kind, value in audience.counts)
        text = f"Audience size {size[1]:,} ({size[0]}) is not a size of the generation job; allowed: {allowed}."
        raise JobFailure(StatusCode.AUDIENCE_SIZE_NOT_CONFIGURED, text)
    if count < rules.min_export:
        text = (
            f"Audience size {size[1]:,} ({size[0]}) corresponds to {count:,} users; an exported audience needs at least "
            f"{rules.min_export:,}: export a larger size."
        )
        raise JobFailure(StatusCode.AUDIENCE_TOO_SMALL_TO_EXPORT, text)
    with translate_findings():
        folder = Location.parse(output_uri.rstrip("/") + "/", "The output")
        for part, start in enumerate(range(0, count, _USERS_PER_PART)):
            users = audience.users[start : min(start + _USERS_PER_PART, count)].to_pylist()
            lines = "".join(f'{{"user_id": {json.dumps(user)}}}\n' for user in users)
            write(s3, Location(folder.bucket, f"{folder.key}part-{part:05d}.jsonl"), lines.encode())
    return str(folder)
