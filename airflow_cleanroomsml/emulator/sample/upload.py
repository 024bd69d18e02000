"""Uploads interactions and seeds to S3, and creates the Glue table of the interactions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from airflow_cleanroomsml.emulator.sample.interactions import Interactions

DATABASE, TABLE = "lookalike", "interactions"
_COLUMNS = {
    "user_id": "string",
    "item_id": "string",
    "timestamp": "bigint",
    "event_type": "string",
    "event_value": "int",
}


def upload_interactions(s3: Any, glue: Any, bucket: str, data: Interactions) -> None:
    """
    Upload interactions as CSV, and create their Glue database and table.

    :param s3: boto3 client of the account that owns the bucket.
    :param glue: boto3 client of the account that is to own the table.
    :param bucket: Bucket, which must exist.
    :param data: Interactions.
    """
    s3.put_object(Bucket=bucket, Key="interactions/interactions.csv", Body=data.write_csv())
    glue.create_database(DatabaseInput={"Name": DATABASE})
    glue.create_table(
        DatabaseName=DATABASE,
        TableInput={
            "Name": TABLE,
            "TableType": "EXTERNAL_TABLE",
            "Parameters": {"classification": "csv", "skip.header.line.count": "1"},
            "StorageDescriptor": {
                "Columns": [{"Name": name, "Type": kind} for name, kind in _COLUMNS.items()],
                "Location": f"s3://{bucket}/interactions/",
                "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
                "SerdeInfo": {
                    "SerializationLibrary": "org.apache.hadoop.hive.serde2.OpenCSVSerde",
                    "Parameters": {"separatorChar": ","},
                },
            },
        },
    )


def upload_seed(s3: Any, bucket: str, key: str, users: Iterable[str]) -> None:
    """
    Upload a seed as JSON lines.

    :param s3: boto3 client of the account that owns the bucket.
    :param bucket: Bucket, which must exist.
    :param key: Key of the file.
    :param users: User ids.
    """
    lines = "".join(json.dumps({"user_id": user}) + "\n" for user in users)
    s3.put_object(Bucket=bucket, Key=key, Body=lines.encode())
