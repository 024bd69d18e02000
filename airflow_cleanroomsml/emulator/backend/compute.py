"""Quotas of the jobs that run on instances."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.emulator.backend.access import Access
from airflow_cleanroomsml.emulator.errors import quota
from airflow_cleanroomsml.emulator.lifecycle import PENDING
from airflow_cleanroomsml.emulator.store import Record


class Compute(Access):
    """Training and inference have quotas of their own, of jobs and of instances."""

    def require_capacity(self, kind: str, membership: Record, config: dict[str, Any]) -> None:
        """
        Refuse a job that no room is left for.

        :param kind: ``trained-model`` or ``trained-model-inference-job``.
        :param config: ``resourceConfig``.
        """
        settings, trains = self.settings, kind == "trained-model"
        what = "training" if trains else "inference"
        jobs = [record for record in self.store.all(kind, membership.caller) if record.status in PENDING]
        here = [record for record in jobs if record.fields["membershipIdentifier"] == membership.id]
        per_account = settings.training_jobs_per_account if trains else settings.inference_jobs_per_account
        per_membership = settings.training_jobs_per_membership if trains else settings.inference_jobs_per_membership
        _require(len(jobs) + 1, f"Custom model {what} jobs in progress per account", per_account)
        _require(len(here) + 1, f"Custom model {what} jobs in progress per membership", per_membership)
        kinds, name = settings.instance_types, config["instanceType"]
        same = [record for record in jobs if record.fields["resourceConfig"]["instanceType"] == name]
        limit = settings.instances_per_type if name in kinds else 0
        if kinds:
            _require(_instances(same) + _count(config), f"{name} for custom model {what} jobs", limit)
        if trains:
            total = _instances(jobs) + _count(config)
            _require(total, "Instances for custom model training jobs", settings.training_instances)


def _require(wanted: int, name: str, limit: int) -> None:
    if wanted > limit:
        raise quota(name, limit)


def _count(config: dict[str, Any]) -> int:
    count: int = config.get("instanceCount", 1)
    return count


def _instances(jobs: list[Record]) -> int:
    return sum(_count(job.fields["resourceConfig"]) for job in jobs)
