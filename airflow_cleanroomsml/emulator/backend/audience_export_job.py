"""Audience export jobs: they have no ARN and can only be listed."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from airflow_cleanroomsml.emulator.backend.base import BackendBase
from airflow_cleanroomsml.emulator.errors import conflict_error, quota_error, validation_error
from airflow_cleanroomsml.emulator.lifecycle import PENDING
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record

KIND = "audience-export-job"


@dataclass(frozen=True)
class ExportDetails:
    """
    Details of an export.

    :param shows_location: Whether the caller may see where it is written.
    """

    shows_location: bool


class AudienceExportJobs(BackendBase):
    """Operations on audience export jobs, which write to the output location of the configured audience model."""

    def start_audience_export_job(
        self,
        caller: Caller,
        *,
        name: str,
        audience_generation_job_arn: str,
        audience_size: dict[str, Any],
        description: str | None = None,
    ) -> dict[str, Any]:
        """StartAudienceExportJob."""
        job = self.store.get(audience_generation_job_arn, "Audience generation job", caller)
        model = self.store.get(job.fields["configuredAudienceModelArn"], "Configured audience model")
        if job.status != "ACTIVE" or job.lifecycle.work is None:
            raise validation_error(
                f"The audience generation job {job.arn} is {job.status}; only an ACTIVE job can be exported."
            )
        self._check_size(job, audience_size)
        self._check_new_export(caller, job, name)
        # The audience goes to the model's owner: "seed data providers don't directly observe the output" (user guide, ml-privacy).
        audience, owner = job.lifecycle.work.result(), model.caller
        output = model.fields["outputConfig"]
        prefix, role = output["destination"]["s3Destination"]["s3Uri"].rstrip("/"), output["roleArn"]
        # "Each audience will have a unique location" (API reference, CreateConfiguredAudienceModel).
        output_uri = f"{prefix}/{job.arn.rsplit('/', 1)[1]}/{uuid.uuid4()}"
        size = (audience_size["type"], audience_size["value"])

        def work() -> str:
            # Slow to import, as in training.
            from airflow_cleanroomsml.emulator.lookalike.export import export

            s3 = self.clients.build("s3", owner, role)
            return export(s3, audience, size=size, output_uri=output_uri, rules=self.settings.rules)

        fields = {
            "name": name,
            "audienceGenerationJobArn": job.arn,
            "audienceSize": audience_size,
            "description": description,
        }
        details = ExportDetails(shows_location=owner.account == caller.account)
        self.store.add(Record(KIND, fields, caller, self.run_in_background(work), details=details))
        return {}

    def _check_size(self, job: Record, size: dict[str, Any]) -> None:
        sizes: list[tuple[str, int]] = job.details.sizes
        if (size["type"], size["value"]) not in sizes:
            # It "must match one of the sizes in the configured audience model" (API reference, AudienceSize).
            allowed = ", ".join(f"{kind} {value}" for kind, value in sizes)
            raise validation_error(
                f"The audience size {size['type']} {size['value']} is not configured; allowed: {allowed}."
            )

    def _check_new_export(self, caller: Caller, job: Record, name: str) -> None:
        siblings = list(self.store.find(KIND, caller, audienceGenerationJobArn=job.arn))
        if self.settings.unique_names and any(record.fields["name"] == name for record in siblings):
            raise conflict_error(f"An audience export job named '{name}' already exists for {job.arn}.")
        # No operation deletes an export job: only deleting the generation job frees this quota.
        active = sum(record.status in ("ACTIVE", *PENDING) for record in siblings)
        if active >= self.settings.exports_per_generation_job:
            raise quota_error(
                "Active audience export jobs per audience generation job", self.settings.exports_per_generation_job
            )
        self.require_quota(
            caller, KIND, "Pending or in progress audience export jobs", self.settings.exports_in_progress
        )

    def list_audience_export_jobs(self, caller: Caller, *, audience_generation_job_arn: str | None = None) -> Listing:
        """ListAudienceExportJobs; an output location in another account is not shown (user guide, ml-behaviors)."""
        job = audience_generation_job_arn
        return self.store.build_listing(KIND, caller, describe=self._describe_export, audienceGenerationJobArn=job)

    def _describe_export(self, record: Record) -> dict[str, Any]:
        describe = record.describe()
        if describe["status"] == "ACTIVE" and record.lifecycle.work is not None and record.details.shows_location:
            describe["outputLocation"] = record.lifecycle.work.result()
        return describe
