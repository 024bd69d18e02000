"""Training: from a Glue table to a model that tells users apart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from airflow_cleanroomsml.emulator.lookalike import glue_table, profiles, schema, training_files
from airflow_cleanroomsml.emulator.lookalike.clients import GlueClient, S3Client
from airflow_cleanroomsml.emulator.lookalike.failures import Problems, StatusCode
from airflow_cleanroomsml.emulator.lookalike.interactions import checked
from airflow_cleanroomsml.emulator.lookalike.rules import DataRules
from airflow_cleanroomsml.emulator.lookalike.threads import one_thread
from airflow_cleanroomsml.emulator.lookalike.window import Window


@dataclass(frozen=True)
class LookalikeModel:
    """
    The users of the training data, each described; the interactions themselves are not kept.

    :param users: Their ids, as text.
    :param profiles: Their descriptions, in the same order.
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
    Read a training dataset, check the documented requirements and describe its users.

    :param glue: Client that may read the Glue Data Catalog.
    :param s3: Client that may read the table's files.
    :param dataset: One element of ``trainingData`` of CreateTrainingDataset.
    :param start: Begin of the training window, included; None for the first interaction.
    :param end: End of the training window, excluded; None for after the last interaction.
    :param rules: The requirements.
    :raises JobFailure: When the data cannot be trained on: first for what Glue and the schema say, then for
        the files, then for their content, all problems of one stage together.
    """
    config = dataset["inputConfig"]
    table = glue_table.fetch(glue, config["dataSource"]["glueDataSource"])
    window = Window(start, end)
    problems = Problems()
    if window.empty:
        text = f"The training window {window} ends before it begins or as it begins: correct its times."
        problems.add(StatusCode.INVALID_TRAINING_WINDOW, text)
    roles = schema.resolve(config["schema"], table, rules, problems)
    places = training_files.sources(table, problems)
    problems.raise_if_any()
    interactions = checked(training_files.read_all(s3, places, roles.types), roles, window, rules)
    with one_thread():
        return LookalikeModel(interactions.users, profiles.build(interactions, rules))
