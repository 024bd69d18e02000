"""Each permission of the how-to page, tested with moto's IAM, which evaluates the policies of the caller."""

from __future__ import annotations

import json

import pytest

from airflow_cleanroomsml._training_data.limits import DataRules
from airflow_cleanroomsml._training_data.role import JobRole, find_trust_problem
from airflow_cleanroomsml._training_data.rules import Findings
from airflow_cleanroomsml._training_data.table_check import check_role, check_table
from airflow_cleanroomsml._training_data.window import Window
from airflow_cleanroomsml.operators import CleanRoomsMLCheckTrainingDataOperator
from tests.helpers.training_data import build_trust_policy
from tools.permissions import ALWAYS, PARTITIONED, group_permissions

from .conftest import Aws
from .lake import Lake

ACCOUNT = "123456789012"
ROLE = JobRole(
    f"arn:aws:iam::{ACCOUNT}:role/service/reader", f"arn:aws:cleanrooms-ml:us-east-1:{ACCOUNT}:training-dataset/new"
)
#: Moto has no policy simulator; the emulator has one.
ACTIONS = [
    action
    for case in (ALWAYS, PARTITIONED)
    for action in group_permissions(CleanRoomsMLCheckTrainingDataOperator)[case]
    if action != "iam:SimulatePrincipalPolicy"
]


@pytest.fixture
def partitioned_lake(aws: Aws, lake: Lake) -> Lake:
    """A lake whose table has a partition, and a role."""
    iam = aws.client("iam")
    if not [role for role in iam.list_roles()["Roles"] if role["RoleName"] == "reader"]:
        iam.create_role(RoleName="reader", Path="/service/", AssumeRolePolicyDocument=json.dumps(build_trust_policy()))
    lake.put("data/a.csv", lake.format_csv())
    lake.create_table(partition_keys={"day": "string"})
    storage = lake.glue.get_table(DatabaseName=lake.name, Name="interactions")["Table"]["StorageDescriptor"]
    lake.glue.create_partition(
        DatabaseName=lake.name,
        TableName="interactions",
        PartitionInput={"Values": ["1"], "StorageDescriptor": storage},
    )
    return lake


def check_with_permissions(aws: Aws, lake: Lake, *allowed: str) -> set[str]:
    """Check a lake as a caller who is allowed only these actions, and return the rules of the findings."""
    findings = Findings()
    # HeadBucket needs s3:ListBucket (S3 API reference); moto requires an action that S3 does not have.
    with aws.limited_user(*allowed, "s3:HeadBucket") as caller:
        glue, s3, iam = (caller.client(service) for service in ("glue", "s3", "iam"))
        table = check_table(glue, s3, lake.dataset, Window(None, None), DataRules(), findings)
        source = lake.dataset["inputConfig"]["dataSource"]["glueDataSource"]
        check_role(glue, iam, ROLE, source, table.files if table and table.files else (), findings)
    # Without the simulator the check cannot determine whether the role may create the default database.
    conclusive = [finding for finding in findings if "simulat" not in finding.problem]
    return {finding.rule.name for finding in conclusive} - {"DEFAULT_DATABASE_UNCERTAIN"}


def test_documented_permissions_suffice(aws: Aws, partitioned_lake: Lake) -> None:
    assert check_with_permissions(aws, partitioned_lake, *ACTIONS) == set()


@pytest.mark.parametrize("action", ACTIONS)
def test_each_documented_permission_is_needed(aws: Aws, partitioned_lake: Lake, action: str) -> None:
    rules = {"glue": "GLUE_ACCESS_DENIED", "s3": "S3_ACCESS_DENIED", "iam": "NOT_CHECKED"}
    others = [each for each in ACTIONS if each != action]
    assert check_with_permissions(aws, partitioned_lake, *others) == {rules[action.partition(":")[0]]}


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ({"Principal": "*"}, None),
        ({"Principal": {"AWS": "*"}}, ""),
        ({"Principal": {"Service": ["glue.amazonaws.com", "cleanrooms-ml.amazonaws.com"]}}, None),
        ({"Principal": {"Service": "cleanrooms-ml.amazonaws.com"}}, None),
        ({"NotPrincipal": {"Service": "glue.amazonaws.com"}}, None),
        ({"NotPrincipal": {"Service": ["glue.amazonaws.com", "cleanrooms-ml.amazonaws.com"]}}, ""),
        ({"Action": "sts:*"}, None),
        ({"Action": ["sts:TagSession", "STS:assumerole"]}, None),
        ({"NotAction": "sts:TagSession"}, None),
        ({"NotAction": ["sts:TagSession", "sts:Assume*"]}, ""),
        ({"Action": "sts:TagSession"}, ""),
        ({"Condition": {"StringEquals": {"aws:SourceOrgID": "o-1"}}}, None),
        ({"Condition": {"ArnLike": {"aws:SourceArn": ROLE.source_arn.replace("new", "*")}}}, None),
        ({"Condition": {"ArnLike": {"aws:SourceArn": "*"}}}, None),
        ({"Condition": {"ArnEquals": {"aws:SourceArn": ["arn:aws:s3:*", "arn:aws:cleanrooms-ml:*"]}}}, None),
        ({"Condition": {"ArnNotLike": {"aws:SourceArn": "arn:aws:cleanrooms-ml:*"}}}, None),
        ({"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:*"}}}, ", because a condition"),
        ({"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:cleanrooms-ml:*:*:*:*"}}}, ", because a condition"),
        ({"Condition": {"ArnNotLike": {"aws:SourceArn": "arn:aws:s3:*"}}}, None),
        ({"Condition": {"StringEquals": {"aws:SourceAccount": ["210987654321", ROLE.account]}}}, None),
        (
            {"Condition": {"StringNotEquals": {"aws:SourceAccount": ["210987654321", ROLE.account]}}},
            ", because a condition",
        ),
        ({"Condition": {"StringEqualsIfExists": {"aws:SourceAccount": "210987654321"}}}, ", because a condition"),
    ],
)
def test_trust_policy_is_evaluated_as_by_iam(statement: dict[str, object], problem: str | None) -> None:
    policy = build_trust_policy()
    policy["Statement"][0].update(statement)
    result = find_trust_problem(json.dumps(policy), ROLE)
    assert result == problem if problem is None or not problem else (result or "").startswith(problem)
