"""Checks a training dataset without reading its data: by Glue, the listing of its files, and IAM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from airflow_cleanroomsml._training_data import glue_table, schema
from airflow_cleanroomsml._training_data.clients import GlueClient, IamClient, S3Client
from airflow_cleanroomsml._training_data.glue_table import GlueTable
from airflow_cleanroomsml._training_data.limits import DataRules
from airflow_cleanroomsml._training_data.role import (
    BUCKET_ACTIONS,
    Access,
    JobRole,
    check_permissions,
    check_trust,
    simulate,
)
from airflow_cleanroomsml._training_data.rules import Findings, InvalidDataError, Rule
from airflow_cleanroomsml._training_data.storage import Location
from airflow_cleanroomsml._training_data.table_files import ListedPart, list_parts, list_table_files
from airflow_cleanroomsml._training_data.window import Window

#: Rules that only say that the caller may not see the files.
_DENIALS = {Rule.S3_ACCESS_DENIED, Rule.BUCKET_POLICY_DENIES}
#: What the role does with the catalog, the database and the table (user guide, ml-roles).
_GLUE_ACTIONS = ("glue:GetDatabase", "glue:GetTable", "glue:GetPartitions")


@dataclass(frozen=True)
class CheckedTable:
    """
    A table that can be read.

    :param table: Its definition.
    :param roles: The columns to train on.
    :param files: Its files by partition; None if the caller may not list them.
    """

    table: GlueTable
    roles: schema.Roles
    files: Sequence[ListedPart] | None


def check_table(
    glue: GlueClient, s3: S3Client, dataset: Mapping[str, Any], window: Window, rules: DataRules, findings: Findings
) -> CheckedTable | None:
    """
    Check the table of a training dataset, its schema and its files.

    :param dataset: An element of ``trainingData``.
    :param window: The training window.
    :param rules: Maximum number of features.
    :param findings: Collects findings.
    :return: None if there is no such table, or the caller may not see it.
    """
    if window.is_empty:
        findings.add(Rule.INVALID_TRAINING_WINDOW.build("trainingDataEndTime", window=window))
    config = dataset["inputConfig"]
    try:
        table = glue_table.fetch(glue, config["dataSource"]["glueDataSource"])
    except InvalidDataError as error:
        findings.add(*error.findings)
        return None
    roles = schema.resolve(config["schema"], table, rules, findings)
    parts = list_parts(table, findings)
    files: Sequence[ListedPart] | None = None
    try:
        files = list_table_files(s3, table, parts, findings, withhold=(roles.user, roles.item))
    except InvalidDataError as error:
        findings.add(*error.findings)
    is_denied = any(finding.rule in _DENIALS for finding in findings.errors)
    return CheckedTable(table, roles, None if is_denied else files)


def find_obstacles(findings: Findings) -> set[Rule]:
    """
    Return the broken rules that prevent reading the data, regardless of their severity in the report.

    :param findings: What :func:`check_table` has found.
    """
    return {finding.rule for finding in findings.errors} - {*_DENIALS, Rule.PARTITION_EMPTY}


def check_role(
    glue: GlueClient,
    iam: IamClient,
    role: JobRole,
    source: Mapping[str, str],
    files: Sequence[ListedPart],
    findings: Findings,
) -> None:
    """
    Check that the service may assume the role of a training dataset, and that the role may read the table and its files.

    :param source: ``glueDataSource`` of the dataset.
    :param files: Its files, as far as they are known.
    :param findings: Collects findings.
    """
    if not check_trust(iam, role, findings):
        return
    region = glue.meta.region_name
    owner = source.get("catalogId", role.account)
    prefix = f"arn:{role.partition}:glue:{region}:{owner}"
    _check_default_database(glue, iam, role, f"arn:{role.partition}:glue:{region}:{role.account}", findings)
    database, table = source["databaseName"], source["tableName"]
    needed = [
        Access(_GLUE_ACTIONS, f"{prefix}:catalog", "the Glue catalog"),
        Access(_GLUE_ACTIONS, f"{prefix}:database/{database}", f"Glue database {database}"),
        Access(_GLUE_ACTIONS[1:], f"{prefix}:table/{database}/{table}", f"Glue table {database}.{table}"),
    ]
    # One file stands for all in its bucket: policies grant prefixes, and each file would be another request to the simulator.
    for location in {each.location.bucket: _choose_object(each) for each in files}.values():
        bucket = f"arn:{role.partition}:s3:::{location.bucket}"
        needed += [
            Access(BUCKET_ACTIONS, bucket, f"bucket {location.bucket}"),
            Access(("s3:GetObject",), f"{bucket}/{location.key}", f"the files in bucket {location.bucket}"),
        ]
    check_permissions(iam, role, needed, findings)


def _check_default_database(glue: GlueClient, iam: IamClient, role: JobRole, prefix: str, findings: Findings) -> None:
    try:
        glue.get_database(Name="default")
    except ClientError as error:
        if error.response["Error"]["Code"] != "EntityNotFoundException":
            if not glue_table.is_denial(error):
                # Throttling, for instance: the next attempt may succeed.
                raise
            # The caller may not read it; that the table could be read says nothing about another database.
            findings.add(Rule.DEFAULT_DATABASE_UNCERTAIN.build("databaseName", role=role.arn))
            return
        access = Access(("glue:CreateDatabase",), f"{prefix}:database/default", "Glue database default")
        denied = simulate(iam, role, access, findings)
        if denied is None:
            findings.add(Rule.DEFAULT_DATABASE_UNCERTAIN.build("databaseName", role=role.arn))
        elif denied:
            findings.add(Rule.DEFAULT_DATABASE_MISSING.build("databaseName", role=role.arn))


def _choose_object(each: ListedPart) -> Location:
    return each.files[0].location if each.files else Location(each.location.bucket, f"{each.location.key}/file")
