"""What the emulator decides where AWS documents nothing, and what a test may turn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

from airflow_cleanroomsml.emulator.lookalike import DataRules

T = TypeVar("T")


def _documented(value: T) -> T:
    """A default that AWS publishes; all others are assumptions, and the ledger of assumptions names them."""
    documented: T = field(default=value, metadata={"documented": True})
    return documented


@dataclass(frozen=True)
class Settings:
    """
    Switches of the emulator.

    :param scale: Factor on every documented minimum of the data (interactions, users, seed, export), for small tests; 1 is the
        documented size.
    :param pending_seconds: How long a job is CREATE_PENDING; AWS publishes no figure.
    :param progress_seconds: How long it is CREATE_IN_PROGRESS at least; the work itself may take longer.
    :param delete_seconds: How long a deletion takes, half of it DELETE_PENDING.
    :param unique_names: Whether every create refuses a name that is in use. Documented for training datasets and generation jobs
        only; undecided for the others.
    :param models_in_progress: Audience models that train at a time (user guide, Quotas).
    :param generation_jobs_in_progress: Generation jobs that run at a time (user guide, Quotas).
    :param exports_in_progress: Export jobs that run at a time (user guide, Quotas).
    :param exports_per_generation_job: Active exports of one generation job (user guide, Quotas).
    :param audience_model_associations_per_membership: Configured audience model associations of a membership (user guide, Quotas).
    :param input_channels_per_membership: Active ML input channels of a membership (user guide, Quotas).
    :param training_jobs_per_account: Trained models in training at a time (user guide, Quotas).
    :param training_jobs_per_membership: Trained models of a membership in training at a time (user guide, Quotas).
    :param training_instances: Instances of all trained models in training (user guide, Quotas).
    :param inference_jobs_per_account: Inference jobs that run at a time (user guide, Quotas).
    :param inference_jobs_per_membership: Inference jobs of a membership that run at a time (user guide, Quotas).
    :param instance_types: Instance types whose quota is not 0, in a new account (user guide, Quotas); empty for all, without a quota.
    :param instances_per_type: Instances of each of them, for training and for inference (user guide, Quotas).
    :param versions_per_trained_model: Versions of a trained model, the base version included (user guide, Quotas).
    :param published_rates: Whether requests that come faster than the published rates are throttled (user guide, Quotas).
    """

    scale: float = _documented(1.0)
    pending_seconds: float = 0.5
    progress_seconds: float = 1.0
    delete_seconds: float = 1.0
    unique_names: bool = True
    models_in_progress: int = _documented(2)
    generation_jobs_in_progress: int = _documented(10)
    exports_in_progress: int = _documented(20)
    exports_per_generation_job: int = _documented(25)
    audience_model_associations_per_membership: int = _documented(5)
    input_channels_per_membership: int = _documented(100)
    training_jobs_per_account: int = _documented(10)
    training_jobs_per_membership: int = _documented(5)
    training_instances: int = _documented(10)
    inference_jobs_per_account: int = _documented(10)
    inference_jobs_per_membership: int = _documented(5)
    instance_types: tuple[str, ...] = ("ml.m5.2xlarge", "ml.m5.4xlarge", "ml.m5.12xlarge")
    instances_per_type: int = 3
    versions_per_trained_model: int = 100
    published_rates: bool = False

    def changed(self, given: Mapping[str, Any]) -> Settings:
        """
        The same with other values.

        :param given: Values as JSON has them, by the names of fields.
        :raises ValueError: A name that is none, or a value of a wrong type or below 0.
        """
        present = asdict(self)
        unknown = set(given) - set(present)
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))}: no such setting; known: {', '.join(present)}")
        return replace(self, **{name: _like(name, present[name], value) for name, value in given.items()})

    @property
    def rules(self) -> DataRules:
        """The data requirements at this scale."""
        return DataRules().scaled(self.scale)

    @property
    def default_matching_seed_size(self) -> int:
        """``minMatchingSeedSize`` where a configured audience model gives none: 500 (API reference), at this scale."""
        return max(1, round(500 * self.scale))


def _like(name: str, present: Any, value: Any) -> Any:
    """A value of the type of the present one."""
    if isinstance(present, tuple):
        if isinstance(value, list) and all(isinstance(text, str) for text in value):
            return tuple(value)
        raise ValueError(f"{name} is a list of texts")
    if isinstance(present, bool):
        if isinstance(value, bool):
            return value
        raise ValueError(f"{name} is true or false")
    kinds = int if isinstance(present, int) else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{name} is {'a whole number' if kinds is int else 'a number'}, 0 or more")
    return type(present)(value)
