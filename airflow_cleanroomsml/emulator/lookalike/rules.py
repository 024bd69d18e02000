"""What the service documents about the data it accepts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class DataRules:
    """
    The documented limits of training data, seeds and exports.

    The upper limits that data on one machine cannot reach (20 billion interactions, 50 million items
    supplied) are left out.

    :param min_interactions: Interactions in the training window (user guide, "Training data requirements").
    :param min_users: Distinct users with enough interactions each (same page).
    :param min_interactions_per_user: Interactions that make a user count; one with fewer is neither counted
        nor trained on, and is in no audience (same page: "at least two item interactions each").
    :param max_features: Columns of type CATEGORICAL_FEATURE and NUMERICAL_FEATURE together (same page).
    :param max_users: Users trained on, the most active ones (user guide, Quotas).
    :param max_items: Items trained on, the most popular ones (user guide, Quotas).
    :param min_seed: Unique user ids in a seed (user guide, "Seed data requirements").
    :param max_seed: Unique user ids in a seed (same page).
    :param min_export: Users in an exported audience (user guide, Quotas).
    """

    min_interactions: int = 1_000_000
    min_users: int = 100_000
    min_interactions_per_user: int = 2
    max_features: int = 10
    max_users: int = 100_000_000
    max_items: int = 1_000_000
    min_seed: int = 25
    max_seed: int = 500_000
    min_export: int = 10_000

    def scaled(self, factor: float) -> DataRules:
        """
        Return rules for a smaller world: the minima of interactions, users, seed and export times ``factor``.

        Two interactions a user stay two, and maxima stay. Users and seed never fall below two: a model tells
        users apart, and a metric holds one seed user out while another is learned from.

        :param factor: 0 to 1; 1 keeps the documented minima.
        :raises ValueError: When ``factor`` is negative.
        """
        if factor < 0:
            message = f"minima cannot be scaled by {factor}"
            raise ValueError(message)
        return replace(
            self,
            min_interactions=max(1, math.ceil(self.min_interactions * factor)),
            min_users=max(2, math.ceil(self.min_users * factor)),
            min_seed=max(2, math.ceil(self.min_seed * factor)),
            min_export=max(1, math.ceil(self.min_export * factor)),
        )
