"""Generating an audience: a seed read, all users ranked, the ranking measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_cleanroomsml.emulator.lookalike.clients import S3Client
from airflow_cleanroomsml.emulator.lookalike.failures import JobFailure, Problems, StatusCode
from airflow_cleanroomsml.emulator.lookalike.metrics import Quality, measure
from airflow_cleanroomsml.emulator.lookalike.model import LookalikeModel
from airflow_cleanroomsml.emulator.lookalike.profiles import Positions
from airflow_cleanroomsml.emulator.lookalike.ranking import ranked, scores
from airflow_cleanroomsml.emulator.lookalike.rules import DataRules
from airflow_cleanroomsml.emulator.lookalike.seed import read_seed
from airflow_cleanroomsml.emulator.lookalike.threads import one_thread

Size = tuple[str, int]

#: Any number will do, as long as the same job gives the same audience.
_RANDOM_STATE = 20_230_906
#: One user is learned from while another is held out.
_LEAST_MATCHES = 2


@dataclass(frozen=True)
class GeneratedAudience:
    """
    A ranking, as far down as the largest size goes, and how good it is.

    :param metrics: ``metrics`` of GetAudienceGenerationJob: ``relevanceMetrics`` and ``recallMetric``.
    :param users: Ids of the users, the most similar first.
    :param counts: Number of users in an audience of each size.
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
    Rank the model's users by how much they are like a seed.

    :param s3: Client that may read the seed.
    :param model: The users to choose from.
    :param seed_uri: S3 URI of JSON lines, an object or a prefix.
    :param sizes: Sizes to measure and keep: ``("PERCENTAGE", 5)`` of the model's users (rounded up), or
        ``("ABSOLUTE", 20000)`` users.
    :param include_seed: Whether users of the seed may be in the audience, in the place that their score gives
        them.
    :param min_matching_seed_size: Number of users of the seed that the model has to know; two at least are
        needed.
    :param rules: Limits of the seed.
    :raises JobFailure: When the seed cannot be used, or a size is larger than the number of users to choose
        from.
    """
    ids = read_seed(s3, seed_uri, rules)
    seed = _matching(model, ids, max(min_matching_seed_size, _LEAST_MATCHES))
    total = len(model.users)
    counts = {size: _count(size, total) for size in sizes}
    _check_sizes(counts, total if include_seed else total - len(seed), total, include_seed=include_seed)
    rng = np.random.default_rng(_RANDOM_STATE)
    candidates = np.ones(total, dtype=bool)
    candidates[seed] = include_seed
    with one_thread():
        quality = measure(model.profiles, seed, [count / total for count in counts.values()], rng)
        order = ranked(scores(model.profiles, seed, rng), candidates, rng)
    best = model.users.take(pa.array(order[: max(counts.values())]))
    return GeneratedAudience(_metrics(counts, quality), best, counts)


def _matching(model: LookalikeModel, ids: list[str], required: int) -> Positions:
    positions = pc.index_in(pa.array(ids, pa.string()), value_set=model.users).drop_null()
    if len(positions) < required:
        text = (
            f"{len(positions):,} of the seed's {len(ids):,} users are among the {len(model.users):,} of "
            f"the training data; at least {required:,} must be (minMatchingSeedSize): supply more, and check "
            "that both sides write ids alike."
        )
        raise JobFailure(StatusCode.INSUFFICIENT_MATCHING_SEED, text)
    if len(positions) == len(model.users):
        text = "Every user of the training data is in the seed: there is nobody to tell the seed from."
        raise JobFailure(StatusCode.SEED_TOO_LARGE, text)
    seed: Positions = np.sort(positions.to_numpy().astype(np.int64))
    return seed


def _count(size: Size, users: int) -> int:
    kind, value = size
    return value if kind == "ABSOLUTE" else -(-users * value // 100)


def _check_sizes(counts: Mapping[Size, int], available: int, users: int, *, include_seed: bool) -> None:
    problems = Problems()
    for (kind, value), count in counts.items():
        if count > available:
            text = (
                f"Audience size {value:,} ({kind}) means {count:,} users; {available:,} of {users:,} are "
                f"there to choose from{'' if include_seed else ' without the seed'}: choose smaller sizes."
            )
            problems.add(StatusCode.AUDIENCE_SIZE_TOO_LARGE, text)
    problems.raise_if_any()


def _metrics(counts: Mapping[Size, int], quality: Quality) -> dict[str, Any]:
    relevance = [
        {"audienceSize": {"type": kind, "value": value}, "score": score}
        for (kind, value), score in zip(counts, quality.relevance, strict=True)
    ]
    return {"relevanceMetrics": relevance, "recallMetric": quality.recall}
