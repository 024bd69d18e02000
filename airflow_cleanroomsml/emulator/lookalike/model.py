"""Trains a lookalike model on a Glue table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from airflow_cleanroomsml.emulator.lookalike import glue_table, profiles, schema, training_files
from airflow_cleanroomsml.emulator.lookalike.clients import GlueClient, S3Client
from airflow_cleanroomsml.emulator.lookalike.failures import Problems, StatusCode
from airflow_cleanroomsml.emulator.lookalike.interactions import build_interactions
from airflow_cleanroomsml.emulator.lookalike.rules import DataRules
from airflow_cleanroomsml.emulator.lookalike.threads import limit_blas_threads
from airflow_cleanroomsml.emulator.lookalike.window import Window


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
) -> LookalikeModel:
    """
    Read a training dataset, check the documented requirements, and build the profiles of its users.

    :param glue: Client with read access to the Glue Data Catalog.
    :param s3: Client with read access to the files of the table.
    :param dataset: An element of ``trainingData`` of CreateTrainingDataset.
    :param start: Start of the training window, inclusive; None for no limit.
    :param end: End of the training window, exclusive; None for no limit.
    :param rules: The requirements.
    :raises JobFailure: The data does not meet the requirements. Table and schema are checked first, then the files, then their content;
        the message lists all problems of one stage.
    """
    config = dataset["inputConfig"]
    table = glue_table.fetch(glue, config["dataSource"]["glueDataSource"])
    window = Window(start, end)
    problems = Problems()
    if window.is_empty:
        text = f"The training window {window} must end after it starts: correct its times."
        problems.add(StatusCode.INVALID_TRAINING_WINDOW, text)
    roles = schema.resolve(config["schema"], table, rules, problems)
    sources = training_files.list_sources(table, problems)
    problems.raise_if_any()
    interactions = build_interactions(training_files.read_all(s3, sources, roles.types), roles, window, rules)
    with limit_blas_threads():
        return LookalikeModel(interactions.users, profiles.build(interactions, rules))
