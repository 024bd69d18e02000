"""Evaluates a ranking on held-out users of the seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from airflow_cleanroomsml.emulator.lookalike.profiles import Floats, Positions, Profiles
from airflow_cleanroomsml.emulator.lookalike.ranking import rank_users, score_users

#: An assumption, like the metrics themselves: the user guide does not say how AWS holds users out.
_FOLDS = 5


@dataclass(frozen=True)
class Quality:
    """
    The two metrics of the service.

    :param recall: Share of the held-out users in the largest audience, 0 to 1. For a random ranking it is the share of the largest
        audience in all users (user guide, "Model evaluation metrics": a recall of about the maximum bin percentage is equivalent to
        random selection).
    :param relevance: For each audience, how its users compare with the held-out users, -1 to 1: of all pairs of an audience user and a
        held-out user, the share in which the audience user has the higher score minus the share in which the held-out user has it
        (Cliff's delta). At 0 the audience is as similar to the seed as the seed's own users are; above 0, more users of that kind are
        outside of it; below 0, the audience includes users of other kinds. This has the properties in the user guide: it never rises with
        the size, is 0 where audience and seed have the same distribution, and helps to choose a size, not to compare models.
    """

    recall: float
    relevance: tuple[float, ...]


def measure(profiles: Profiles, seed: Positions, shares: Sequence[float], rng: np.random.Generator) -> Quality:
    """
    Evaluate by cross-validation with five folds: rank the users outside the training folds, and average over the folds.

    :param profiles: All users.
    :param seed: Positions of the seed's users, two or more; with fewer than five, each is a fold.
    :param shares: Share of each audience in all users, which is applied to the users ranked here.
    :param rng: Draws the folds.
    """
    folds = np.array_split(rng.permutation(seed), min(_FOLDS, len(seed)))
    hits = 0
    relevance = np.zeros(len(shares))
    for held_out in folds:
        training = np.setdiff1d(seed, held_out)
        score = score_users(profiles, training, rng)
        candidates = np.ones(len(profiles), dtype=bool)
        candidates[training] = False
        order = rank_users(score, candidates, rng)
        sizes = [max(1, round(share * len(order))) for share in shares]
        hits += int(np.isin(order[: max(sizes)], held_out).sum())
        relevance += _compute_relevance(score[order], score[held_out], sizes) / len(folds)
    return Quality(hits / len(seed), tuple(relevance.tolist()))


def _compute_relevance(audience: Floats, held_out: Floats, sizes: Sequence[int]) -> Floats:
    # Counts the pairs by binary search; comparing all of them would take memory for both counts multiplied.
    reference = np.sort(held_out)
    lower = np.searchsorted(reference, audience, side="left")
    higher = len(reference) - np.searchsorted(reference, audience, side="right")
    running = np.cumsum((lower - higher) / len(reference))
    mean: Floats = running[np.array(sizes) - 1] / sizes
    return mean
