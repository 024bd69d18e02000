"""Ranking users by how much they are like a seed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from airflow_cleanroomsml.emulator.lookalike.profiles import Floats, Positions, Profiles

_BACKGROUND_PER_SEED = 10
_LEAST_BACKGROUND = 10_000


def scores(profiles: Profiles, seed: Positions, rng: np.random.Generator) -> Floats:
    """
    Score every user: a logistic regression that tells the seed from a random sample of all others.

    The sample may contain users who are like the seed, as many as there are among all users: the guide calls
    the same a protection ("the model is created from a random sample of the training data", Privacy
    protections). Whoever is held out of the seed is sampled like everyone else. To spare them would give them
    better scores than chance has for them, to sample all of them worse ones.

    :param profiles: All users.
    :param seed: Positions of the seed's users; at least one user is not among them.
    :param rng: Draws the sample.
    """
    others = np.setdiff1d(np.arange(len(profiles)), seed)
    wanted = max(_LEAST_BACKGROUND, _BACKGROUND_PER_SEED * len(seed))
    background = rng.choice(others, min(wanted, len(others)), replace=False)
    known = np.concatenate([seed, background])
    like = np.arange(len(known)) < len(seed)
    fitted = LogisticRegression(max_iter=1_000).fit(profiles.of(known), like)
    return profiles.project(fitted.coef_[0].astype(np.float32))


def ranked(score: Floats, candidates: npt.NDArray[np.bool_], rng: np.random.Generator) -> Positions:
    """
    Order candidates, best first.

    :param score: Score of every user.
    :param candidates: Which users are ranked.
    :param rng: Decides between equal scores: the order of the files must not.
    """
    users = rng.permutation(np.flatnonzero(candidates))
    return users[np.argsort(-score[users], kind="stable")]
