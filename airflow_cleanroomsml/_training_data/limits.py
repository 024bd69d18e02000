"""The documented requirements of training data, seeds and exports."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class DataRules:
    """
    The documented limits of training data, seeds and exports.

    The limit of 50 million items is left out: nothing here counts items.

    :param min_interactions: Minimum interactions in the training window (user guide, "Training data requirements").
    :param min_users: Minimum distinct users with enough interactions (same page).
    :param min_interactions_per_user: Minimum interactions of a user; a user with fewer is not counted, not trained on and in no audience
        (same page: "at least two item interactions each").
    :param max_interactions: Maximum interactions; of more the service takes a sample (same page).
    :param max_features: Maximum columns of type CATEGORICAL_FEATURE and NUMERICAL_FEATURE together (same page).
    :param max_users: Maximum users to train on, the most active ones (user guide, Quotas).
    :param max_items: Maximum items to train on, the most popular ones (user guide, Quotas).
    :param min_seed: Minimum unique user ids in a seed (user guide, "Seed data requirements").
    :param max_seed: Maximum unique user ids in a seed (same page).
    :param min_export: Minimum users in an exported audience (user guide, Quotas).
    """

    min_interactions: int = 1_000_000
    min_users: int = 100_000
    min_interactions_per_user: int = 2
    max_interactions: int = 20_000_000_000
    max_features: int = 10
    max_users: int = 100_000_000
    max_items: int = 1_000_000
    min_seed: int = 25
    max_seed: int = 500_000
    min_export: int = 10_000

    def scale(self, factor: float) -> DataRules:
        """
        Return rules for less data: the minimums of interactions, users, seed and export multiplied by a factor.

        The minimum of interactions per user and all maximums stay. Users and seed stay at two or more: a model needs users to compare, and
        evaluation holds out one user of the seed while it learns from another.

        :param factor: 0 to 1; 1 for the documented minimums.
        :raises ValueError: The factor is negative.
        """
        if factor < 0:
            raise ValueError(f"scale must be 0 or more, not {factor}")
        return replace(
            self,
            min_interactions=max(1, math.ceil(self.min_interactions * factor)),
            min_users=max(2, math.ceil(self.min_users * factor)),
            min_seed=max(2, math.ceil(self.min_seed * factor)),
            min_export=max(1, math.ceil(self.min_export * factor)),
        )
