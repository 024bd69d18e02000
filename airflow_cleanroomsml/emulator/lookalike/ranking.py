"""Ranks users by their similarity to a seed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from airflow_cleanroomsml.emulator.lookalike.profiles import Floats, Positions, Profiles

_BACKGROUND_PER_SEED = 10
_LEAST_BACKGROUND = 10_000


def score_users(profiles: Profiles, seed: Positions, rng: np.random.Generator) -> Floats:
    """
    Score all users by a logistic regression that separates the seed from a random sample of all other users.

    The sample contains as large a share of users similar to the seed as the training data does. AWS also uses a sample: "the model is
    created from a random sample of the training data" (user guide, Privacy protections). Held-out users of the seed are sampled like all
    others; excluding them would bias their scores upwards, and including all of them downwards.

    :param profiles: All users.
    :param seed: Positions of the seed's users, not of all users.
    :param rng: Draws the sample.
    """
    others = np.setdiff1d(np.arange(len(profiles)), seed)
    size = max(_LEAST_BACKGROUND, _BACKGROUND_PER_SEED * len(seed))
    background = rng.choice(others, min(size, len(others)), replace=False)
    sample = np.concatenate([seed, background])
    is_seed = np.arange(len(sample)) < len(seed)
    regression = LogisticRegression(max_iter=1_000).fit(profiles.select(sample), is_seed)
    return profiles.project(regression.coef_[0].astype(np.float32))


def rank_users(score: Floats, candidates: npt.NDArray[np.bool_], rng: np.random.Generator) -> Positions:
    """
    Rank candidates, best first.

    :param score: Score of each user.
    :param candidates: Whether each user is a candidate.
    :param rng: Breaks ties.
    """
    # Without the permutation, the stable sort would rank users with equal scores in the order of the files.
    users = rng.permutation(np.flatnonzero(candidates))
    return users[np.argsort(-score[users], kind="stable")]
