"""Trains a lookalike model on a Glue table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from airflow_cleanroomsml._training_data import glue_table, schema, training_files
from airflow_cleanroomsml._training_data.clients import GlueClient, IamClient, S3Client
from airflow_cleanroomsml._training_data.limits import DataRules
from airflow_cleanroomsml._training_data.role import JobRole
from airflow_cleanroomsml._training_data.rules import Findings, Rule
from airflow_cleanroomsml._training_data.table_check import check_role
from airflow_cleanroomsml._training_data.table_files import list_parts, list_table_files
from airflow_cleanroomsml._training_data.window import Window
from airflow_cleanroomsml.emulator.lookalike import profiles
from airflow_cleanroomsml.emulator.lookalike.failures import translate_findings
from airflow_cleanroomsml.emulator.lookalike.interactions import build_interactions
from airflow_cleanroomsml.emulator.lookalike.threads import limit_blas_threads


@dataclass(frozen=True)
class LookalikeModel:
    """
    The profiles of the users in the training data. The interactions themselves are not stored.

    :param users: Ids of the users, as text.
    :param profiles: Their profiles, in the same order.
    """

    users: pa.StringArray
    profiles: profiles.Profiles


def train(
    glue: GlueClient,
    s3: S3Client,
    *,
    dataset: dict[str, Any],
    start: datetime | None,
    end: datetime | None,
    rules: DataRules,
    iam: IamClient | None = None,
    role: JobRole | None = None,
) -> LookalikeModel:
    """
    Read a training dataset, check the documented requirements, and build the profiles of its users.

    :param glue: Client with read access to the Glue Data Catalog.
    :param s3: Client with read access to the files of the table.
    :param dataset: An element of ``trainingData`` of CreateTrainingDataset.
    :param start: Start of the training window, inclusive; None for no limit.
    :param end: End of the training window, exclusive; None for no limit.
    :param rules: The requirements.
    :param iam: Client that can read the role; None if the role is not to be checked.
    :param role: Role of the dataset, if it is to be checked.
    :raises JobFailure: The data does not meet the requirements. Table and schema are checked first, then the files, then their content;
        the message lists all problems of one stage.
    """
    config = dataset["inputConfig"]
    window, findings = Window(start, end), Findings()
    with translate_findings():
        if window.is_empty:
            findings.add(Rule.INVALID_TRAINING_WINDOW.build("trainingDataEndTime", window=window))
        table = glue_table.fetch(glue, config["dataSource"]["glueDataSource"])
        roles = schema.resolve(config["schema"], table, rules, findings)
        parts = list_parts(table, findings)
        # In stages: without columns, locations and formats nothing can be listed, and without files nothing can be read.
        findings.raise_for_errors()
        listed = list_table_files(s3, table, parts, findings)
        if iam and role:
            check_role(glue, iam, role, config["dataSource"]["glueDataSource"], listed, findings)
        findings.raise_for_errors()
        sources = training_files.build_sources(table, listed)
        # Messages may quote values here, because the data is the test's own. Those of the check in a worker may not.
        rows = training_files.read_all(s3, sources, roles.types, may_quote=True)
        interactions = build_interactions(rows, roles, window, rules)
    with limit_blas_threads():
        return LookalikeModel(interactions.users, profiles.build(interactions, rules))
