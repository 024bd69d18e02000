"""How good an audience is, measured on users of the seed that the ranking did not know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from airflow_cleanroomsml.emulator.lookalike.profiles import Floats, Positions, Profiles
from airflow_cleanroomsml.emulator.lookalike.ranking import ranked, scores

_FOLDS = 5


@dataclass(frozen=True)
class Quality:
    """
    The two metrics of the service.

    :param recall: Share of the held-out users who are in the largest audience, 0 to 1. A random ranking has
        the share that the largest audience has of all users (user guide, "Model evaluation metrics": a recall
        of about the maximum bin percentage is equivalent to random selection).
    :param relevance: Per audience, how its users compare with the held-out users, -1 to 1: of all pairs of
        one of each, the share in which the audience's user has the higher score less the share in which the
        held-out one has (Cliff's delta). At 0 the audience is as much like the seed as the seed's own users
        are; above it, more users like them are left outside; below it, the audience is larger than the seed's
        kind. These are the properties that the user guide gives: never rising with the size, 0 where audience
        and seed have one distribution, of use for choosing a size and not for judging a model or comparing
        two.
    """

    recall: float
    relevance: tuple[float, ...]


def measure(profiles: Profiles, seed: Positions, shares: Sequence[float], rng: np.random.Generator) -> Quality:
    """
    Hold each fifth of the seed out once, rank all users but the other four fifths, and average over the five.

    :param profiles: All users.
    :param seed: Positions of the seed's users, two or more; of fewer than five each is held out once.
    :param shares: Share that each audience has of all users; it has the same of the users ranked here.
    :param rng: Draws the fifths.
    """
    folds = np.array_split(rng.permutation(seed), min(_FOLDS, len(seed)))
    found = 0
    relevance = np.zeros(len(shares))
    for held_out in folds:
        known = np.setdiff1d(seed, held_out)
        score = scores(profiles, known, rng)
        candidates = np.ones(len(profiles), dtype=bool)
        candidates[known] = False
        order = ranked(score, candidates, rng)
        sizes = [max(1, round(share * len(order))) for share in shares]
        found += int(np.isin(order[: max(sizes)], held_out).sum())
        relevance += _relevance(score[order], score[held_out], sizes) / len(folds)
    return Quality(found / len(seed), tuple(relevance.tolist()))


def _relevance(audience: Floats, held_out: Floats, sizes: Sequence[int]) -> Floats:
    reference = np.sort(held_out)
    lower = np.searchsorted(reference, audience, side="left")
    higher = len(reference) - np.searchsorted(reference, audience, side="right")
    running = np.cumsum((lower - higher) / len(reference))
    mean: Floats = running[np.array(sizes) - 1] / sizes
    return mean
