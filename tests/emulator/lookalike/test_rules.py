from __future__ import annotations

import pytest

from airflow_cleanroomsml.emulator.lookalike import DataRules


def test_only_minimums_scale() -> None:
    documented, small = DataRules(), DataRules().scale(0.01)
    assert (small.min_interactions, small.min_users, small.min_seed, small.min_export) == (10_000, 1_000, 2, 100)
    for name in ("min_interactions_per_user", "max_features", "max_users", "max_items", "max_seed"):
        assert getattr(small, name) == getattr(documented, name)
    assert documented.scale(1) == documented


def test_scaled_minimums_suffice_for_a_model() -> None:
    minimums = DataRules().scale(0)
    assert (minimums.min_interactions, minimums.min_users, minimums.min_seed, minimums.min_export) == (1, 2, 2, 1)


def test_negative_scale_is_rejected() -> None:
    with pytest.raises(ValueError, match="-1"):
        DataRules().scale(-1)
