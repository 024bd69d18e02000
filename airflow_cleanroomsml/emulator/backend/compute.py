"""Quotas of jobs that run on ML instances."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.emulator.backend.access import Access
from airflow_cleanroomsml.emulator.errors import quota_error
from airflow_cleanroomsml.emulator.lifecycle import PENDING
from airflow_cleanroomsml.emulator.store import Record


class ComputeQuotas(Access):
    """Quotas of jobs and instances, separate for training and inference (user guide, Quotas)."""

    def require_capacity(self, kind: str, membership: Record, config: dict[str, Any]) -> None:
        """
        Reject a job that exceeds a quota.

        :param kind: ``trained-model`` or ``trained-model-inference-job``.
        :param config: ``resourceConfig``.
        """
        settings, is_training = self.settings, kind == "trained-model"
        activity = "training" if is_training else "inference"
        jobs = [record for record in self.store.find(kind, membership.caller) if record.status in PENDING]
        in_membership = [record for record in jobs if record.membership_id == membership.id]
        per_account = settings.training_jobs_per_account if is_training else settings.inference_jobs_per_account
        per_membership = (
            settings.training_jobs_per_membership if is_training else settings.inference_jobs_per_membership
        )
        _check_quota(len(jobs) + 1, f"Custom model {activity} jobs in progress per account", per_account)
        _check_quota(len(in_membership) + 1, f"Custom model {activity} jobs in progress per membership", per_membership)
        # In a new account, the quota of most instance types is 0 (user guide, Quotas).
        types, name = settings.instance_types, config["instanceType"]
        same_type = [record for record in jobs if record.fields["resourceConfig"]["instanceType"] == name]
        limit = settings.instances_per_type if name in types else 0
        if types:
            _check_quota(
                _count_instances(same_type) + _get_instance_count(config),
                f"{name} for custom model {activity} jobs",
                limit,
            )
        if is_training:
            total = _count_instances(jobs) + _get_instance_count(config)
            _check_quota(total, "Instances for custom model training jobs", settings.training_instances)


def _check_quota(count: int, name: str, limit: int) -> None:
    if count > limit:
        raise quota_error(name, limit)


def _get_instance_count(config: dict[str, Any]) -> int:
    # AWS does not document the default; the emulator assumes one instance.
    count: int = config.get("instanceCount", 1)
    return count


def _count_instances(jobs: list[Record]) -> int:
    return sum(_get_instance_count(job.fields["resourceConfig"]) for job in jobs)
