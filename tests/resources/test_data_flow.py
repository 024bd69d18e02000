"""The search for the data that requests and responses refer to."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_cleanroomsml._resources.data_flow import Data, GlueTable, S3Location, ServiceResource, find_data

ACCOUNT = "arn:aws:cleanrooms-ml:us-east-1:123456789012"
MODEL = f"{ACCOUNT}:configured-audience-model/5d6d2a3e-6f5b-4b1c-9a53-0d0b1c3a7d11"
ROLE = "arn:aws:iam::123456789012:role/lookalike"


@pytest.mark.parametrize(
    ("members", "data"),
    [
        pytest.param({"name": "weekly", "role_arn": ROLE, "tags": {"team": "ads"}}, [], id="nothing"),
        pytest.param(
            {
                "training_data": [
                    {
                        "type": "INTERACTIONS",
                        "inputConfig": {
                            "dataSource": {
                                "glueDataSource": {
                                    "databaseName": "sales",
                                    "tableName": "events",
                                    "catalogId": "123456789012",
                                }
                            }
                        },
                    }
                ],
            },
            [GlueTable("sales", "events", "123456789012")],
            id="Glue table",
        ),
        pytest.param(
            {
                "configured_audience_model_arn": MODEL,
                "seed_audience": {"dataSource": {"s3Uri": "s3://seeds/buyers.jsonl"}, "roleArn": ROLE},
            },
            [ServiceResource(MODEL), S3Location("s3://seeds/buyers.jsonl")],
            id="seed",
        ),
        *[
            pytest.param({"audience_model_arn": text}, [], id=f"not an ARN: {text}")
            for text in (
                "arn:x",
                "arn:aws",
                "arn:aws:cleanrooms-ml",
                "arn:aws:cleanrooms-ml:us-east-1",
                ACCOUNT,
                f"{ACCOUNT}:",
                "arn:aws:cleanrooms-ml:us-east-1::audience-model/without-account",
                "arn:aws:cleanrooms-ml::123456789012:audience-model/without-region",
                "arn::cleanrooms-ml:us-east-1:123456789012:audience-model/without-partition",
            )
        ],
        pytest.param(
            {"seed_audience": {"sqlParameters": {"queryString": "select user_id from members.sales"}, "roleArn": ROLE}},
            [],
            id="SQL",
        ),
        pytest.param(
            {
                "audience_model_arn": MODEL,
                "output_config": {"destination": {"s3Destination": {"s3Uri": "s3://audiences"}}, "roleArn": ROLE},
            },
            [ServiceResource(MODEL)],
            id="destination of later exports",
        ),
        pytest.param(
            {"output_location": "s3://audiences/a", "again": ["s3://audiences/a"]},
            [S3Location("s3://audiences/a")],
            id="same location twice",
        ),
    ],
)
def test_data_in_members_is_found(members: dict[str, Any], data: list[Data]) -> None:
    assert find_data(members) == data
