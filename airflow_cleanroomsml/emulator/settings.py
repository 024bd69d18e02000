"""What the emulator decides where AWS documents nothing, and what a test may turn."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_cleanroomsml.emulator.lookalike import DataRules


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
    """

    scale: float = 1.0
    pending_seconds: float = 0.5
    progress_seconds: float = 1.0
    delete_seconds: float = 1.0
    unique_names: bool = True
    models_in_progress: int = 2
    generation_jobs_in_progress: int = 10
    exports_in_progress: int = 20
    exports_per_generation_job: int = 25
    audience_model_associations_per_membership: int = 5

    @property
    def rules(self) -> DataRules:
        """The data requirements at this scale."""
        return DataRules().scaled(self.scale)

    @property
    def default_matching_seed_size(self) -> int:
        """``minMatchingSeedSize`` where a configured audience model gives none: 500 (API reference), at this scale."""
        return max(1, round(500 * self.scale))
