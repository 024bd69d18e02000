"""Generates an audience: reads a seed, ranks all users, and evaluates the ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_cleanroomsml._training_data.clients import S3Client
from airflow_cleanroomsml._training_data.limits import DataRules
from airflow_cleanroomsml._training_data.rules import Findings
from airflow_cleanroomsml._training_data.seed import read_seed
from airflow_cleanroomsml.emulator.lookalike.failures import JobFailure, StatusCode, join_problems, translate_findings
from airflow_cleanroomsml.emulator.lookalike.metrics import Quality, measure
from airflow_cleanroomsml.emulator.lookalike.model import LookalikeModel
from airflow_cleanroomsml.emulator.lookalike.profiles import Positions
from airflow_cleanroomsml.emulator.lookalike.ranking import rank_users, score_users
from airflow_cleanroomsml.emulator.lookalike.threads import limit_blas_threads

Size = tuple[str, int]

#: An arbitrary number (the API version), fixed so that the same job always gives the same audience.
_RANDOM_STATE = 20_230_906
#: Evaluation holds one user of the seed out while it learns from another.
_LEAST_MATCHES = 2


@dataclass(frozen=True)
class GeneratedAudience:
    """
    A ranking of users, down to the largest audience size, and its metrics.

    :param metrics: ``metrics`` of GetAudienceGenerationJob: ``relevanceMetrics`` and ``recallMetric``.
    :param users: Ids of the users, the most similar first.
    :param counts: Number of users in the audience of each size.
    """

    metrics: Mapping[str, Any]
    users: pa.StringArray
    counts: Mapping[Size, int]


def generate(
    s3: S3Client,
    model: LookalikeModel,
    *,
    seed_uri: str,
    sizes: Sequence[Size],
    include_seed: bool,
    min_matching_seed_size: int,
    rules: DataRules,
) -> GeneratedAudience:
    """
    Rank the users of a model by their similarity to a seed.

    :param s3: Client with read access to the seed.
    :param model: The model.
    :param seed_uri: S3 URI of an object or a prefix with JSON lines.
    :param sizes: Audience sizes: ``("PERCENTAGE", 5)`` of the model's users (rounded up), or ``("ABSOLUTE", 20000)`` users.
    :param include_seed: Whether the audience may contain users of the seed, ranked by their score.
    :param min_matching_seed_size: Minimum number of users in both the seed and the training data; 2 or more.
    :param rules: Limits of the seed.
    :raises JobFailure: The seed cannot be used, or an audience size exceeds the number of available users.
    """
    findings = Findings()
    with translate_findings():
        ids = list(read_seed(s3, seed_uri, rules, findings, may_quote=True).ids)
        findings.raise_for_errors()
    seed = _find_matching(model, ids, max(min_matching_seed_size, _LEAST_MATCHES))
    total = len(model.users)
    counts = {size: _count_users(size, total) for size in sizes}
    _check_sizes(counts, total if include_seed else total - len(seed), total, include_seed=include_seed)
    rng = np.random.default_rng(_RANDOM_STATE)
    candidates = np.ones(total, dtype=bool)
    candidates[seed] = include_seed
    with limit_blas_threads():
        quality = measure(model.profiles, seed, [count / total for count in counts.values()], rng)
        order = rank_users(score_users(model.profiles, seed, rng), candidates, rng)
    best = model.users.take(pa.array(order[: max(counts.values())]))
    return GeneratedAudience(_build_metrics(counts, quality), best, counts)


def _find_matching(model: LookalikeModel, ids: list[str], required: int) -> Positions:
    positions = pc.index_in(pa.array(ids, pa.string()), value_set=model.users).drop_null()
    if len(positions) < required:
        text = (
            f"{len(positions):,} of the {len(ids):,} users in the seed are among the {len(model.users):,} users of the "
            f"training data; at least {required:,} are required (minMatchingSeedSize). Supply more users, and check "
            "that the ids in both have the same format."
        )
        raise JobFailure(StatusCode.INSUFFICIENT_MATCHING_SEED, text)
    if len(positions) == len(model.users):
        text = "The seed contains all users of the training data, so there are no others to rank: supply fewer users."
        raise JobFailure(StatusCode.SEED_TOO_LARGE, text)
    seed: Positions = np.sort(positions.to_numpy().astype(np.int64))
    return seed


def _count_users(size: Size, users: int) -> int:
    kind, value = size
    # Percentages are rounded up, so that no audience is empty.
    # In integers, because ``ceil(100 * 0.07)`` is 8 in binary fractions.
    return value if kind == "ABSOLUTE" else -(-users * value // 100)


def _check_sizes(counts: Mapping[Size, int], available: int, users: int, *, include_seed: bool) -> None:
    texts = [
        f"Audience size {value:,} ({kind}) corresponds to {count:,} users, but only {available:,} of {users:,} are "
        f"available{'' if include_seed else ' without the seed'}: choose smaller sizes."
        for (kind, value), count in counts.items()
        if count > available
    ]
    if texts:
        raise JobFailure(StatusCode.AUDIENCE_SIZE_TOO_LARGE, join_problems(texts))


def _build_metrics(counts: Mapping[Size, int], quality: Quality) -> dict[str, Any]:
    relevance = [
        {"audienceSize": {"type": kind, "value": value}, "score": score}
        for (kind, value), score in zip(counts, quality.relevance, strict=True)
    ]
    return {"relevanceMetrics": relevance, "recallMetric": quality.recall}
