"""Settings: the emulator's choices where AWS documents nothing, and limits that tests can change."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

from airflow_cleanroomsml.emulator.lookalike import DataRules

T = TypeVar("T")


def _define_documented_default(value: T) -> T:
    """Declare a default that AWS publishes. All others are assumptions, which :mod:`~.assumptions` must list."""
    documented: T = field(default=value, metadata={"documented": True})
    return documented


@dataclass(frozen=True)
class Settings:
    """
    Settings of the emulator.

    :param scale: Factor for every documented minimum of data (interactions, users, seed, export), for small tests; 1 for the documented
        minimums.
    :param pending_seconds: How long a job is CREATE_PENDING; AWS publishes no figure.
    :param progress_seconds: How long a job is CREATE_IN_PROGRESS at least; its work may take longer.
    :param delete_seconds: How long a deletion takes, half of it in DELETE_PENDING.
    :param unique_names: Whether every create rejects a name that is in use. AWS documents that for training datasets, generation jobs
        and trained models only.
    :param models_in_progress: Audience models in training at a time (user guide, Quotas).
    :param generation_jobs_in_progress: Generation jobs running at a time (user guide, Quotas).
    :param exports_in_progress: Export jobs running at a time (user guide, Quotas).
    :param exports_per_generation_job: Active exports of a generation job (user guide, Quotas).
    :param audience_model_associations_per_membership: Configured audience model associations of a membership (user guide, Quotas).
    :param input_channels_per_membership: Active ML input channels of a membership (user guide, Quotas).
    :param training_jobs_per_account: Trained models in training at a time (user guide, Quotas).
    :param training_jobs_per_membership: Trained models of a membership in training at a time (user guide, Quotas).
    :param training_instances: Instances of all trained models in training (user guide, Quotas).
    :param inference_jobs_per_account: Inference jobs running at a time (user guide, Quotas).
    :param inference_jobs_per_membership: Inference jobs of a membership running at a time (user guide, Quotas).
    :param instance_types: Instance types whose quota in a new account is not 0 (user guide, Quotas); empty for all types without a quota.
    :param instances_per_type: Instances of each of these types, separately for training and for inference (user guide, Quotas).
    :param versions_per_trained_model: Versions of a trained model, including the base version (user guide, Quotas).
    :param synchronous_jobs: Whether the response to a request that starts a job waits until the job's work is done, so that only the
        clock decides when the job ends. AWS does not wait.
    :param published_rates: Whether to throttle requests that exceed the published rates (user guide, Quotas).
    :param roles_must_exist: Whether an audience model fails if the emulator's IAM does not have the role of its dataset.
    """

    scale: float = _define_documented_default(1.0)
    pending_seconds: float = 0.5
    progress_seconds: float = 1.0
    delete_seconds: float = 1.0
    unique_names: bool = True
    models_in_progress: int = _define_documented_default(2)
    generation_jobs_in_progress: int = _define_documented_default(10)
    exports_in_progress: int = _define_documented_default(20)
    exports_per_generation_job: int = _define_documented_default(25)
    audience_model_associations_per_membership: int = _define_documented_default(5)
    input_channels_per_membership: int = _define_documented_default(100)
    training_jobs_per_account: int = _define_documented_default(10)
    training_jobs_per_membership: int = _define_documented_default(5)
    training_instances: int = _define_documented_default(10)
    inference_jobs_per_account: int = _define_documented_default(10)
    inference_jobs_per_membership: int = _define_documented_default(5)
    instance_types: tuple[str, ...] = ("ml.m5.2xlarge", "ml.m5.4xlarge", "ml.m5.12xlarge")
    instances_per_type: int = 3
    versions_per_trained_model: int = 100
    synchronous_jobs: bool = _define_documented_default(value=False)
    published_rates: bool = False
    roles_must_exist: bool = False

    def replace_values(self, values: Mapping[str, Any]) -> Settings:
        """
        Return a copy with other values.

        :param values: JSON values by field name.
        :raises ValueError: A field does not exist, or its value has the wrong type or is below 0.
        """
        # The types of the defaults: a present value of a float can be an int, such as 0.
        defaults = asdict(Settings())
        unknown = set(values) - set(defaults)
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))}: unknown setting; allowed: {', '.join(defaults)}")
        return replace(self, **{name: _convert_like(name, defaults[name], value) for name, value in values.items()})

    @property
    def rules(self) -> DataRules:
        """The data requirements at this scale."""
        return DataRules().scale(self.scale)

    @property
    def default_matching_seed_size(self) -> int:
        """Default of ``minMatchingSeedSize``: 500 (API reference), at this scale."""
        return max(1, round(500 * self.scale))


def is_finite_number(value: Any) -> bool:
    """Return whether a JSON value is a number that a float can hold."""
    # A bool is an int to isinstance().
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _convert_like(name: str, default: Any, value: Any) -> Any:
    """Convert a JSON value to the type of the default."""
    if isinstance(default, tuple):
        if isinstance(value, list) and all(isinstance(text, str) for text in value):
            return tuple(value)
        raise ValueError(f"{name} must be a list of strings, not {value!r}")
    if isinstance(default, bool):
        if isinstance(value, bool):
            return value
        raise ValueError(f"{name} must be true or false, not {value!r}")
    is_integral = isinstance(default, int)
    if not is_finite_number(value) or (is_integral and not isinstance(value, int)) or value < 0:
        raise ValueError(f"{name} must be {'an integer' if is_integral else 'a number'}, 0 or more, not {value!r}")
    return type(default)(value)
