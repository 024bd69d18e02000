"""Audience export jobs: no ARN, no Get, no delete; they show in a listing only."""

from __future__ import annotations

import uuid
from typing import Any

from airflow_cleanroomsml.emulator.backend.base import BackendBase
from airflow_cleanroomsml.emulator.errors import conflict, invalid, quota
from airflow_cleanroomsml.emulator.lifecycle import PENDING
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record

KIND = "audience-export-job"


class AudienceExportJobs(BackendBase):
    """Writing an audience to where the configured audience model says, in the background."""

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
        if job.status != "ACTIVE" or job.life.work is None:
            raise invalid(f"Audience generation job {job.arn} is {job.status}; it must be ACTIVE.")
        self._require_size(job, audience_size)
        self._require_room_for_export(caller, job, name)
        audience, owner = job.life.work.result(), model.caller
        output = model.fields["outputConfig"]
        prefix, role = output["destination"]["s3Destination"]["s3Uri"].rstrip("/"), output["roleArn"]
        place = f"{prefix}/{job.arn.rsplit('/', 1)[1]}/{uuid.uuid4()}"
        size = (audience_size["type"], audience_size["value"])

        def work() -> str:
            # As in training: the libraries are slow to import.
            from airflow_cleanroomsml.emulator.lookalike.export import export

            s3 = self.client("s3", owner, role)
            return export(s3, audience, size=size, output_uri=place, rules=self.settings.rules)

        fields = {
            "name": name,
            "audienceGenerationJobArn": job.arn,
            "audienceSize": audience_size,
            "description": description,
            "ownersFiles": owner.account == caller.account,
        }
        self.store.add(Record(KIND, fields, caller, self.job(work)))
        return {}

    def _require_size(self, job: Record, size: dict[str, Any]) -> None:
        sizes: list[tuple[str, int]] = job.fields["sizes"]
        if (size["type"], size["value"]) not in sizes:
            words = ", ".join(f"{kind} {value}" for kind, value in sizes)
            raise invalid(
                f"audienceSize {size['type']} {size['value']} is none that the job was started with: {words}."
            )

    def _require_room_for_export(self, caller: Caller, job: Record, name: str) -> None:
        siblings = list(self.store.all(KIND, caller, audienceGenerationJobArn=job.arn))
        if self.settings.unique_names and any(record.fields["name"] == name for record in siblings):
            raise conflict(f"Audience export job with the name '{name}' already exists for {job.arn}.")
        active = sum(record.status in ("ACTIVE", *PENDING) for record in siblings)
        if active >= self.settings.exports_per_generation_job:
            raise quota(
                "Active audience export jobs per audience generation job", self.settings.exports_per_generation_job
            )
        self.require_quota(
            caller, KIND, "Pending or in progress audience export jobs", self.settings.exports_in_progress
        )

    def list_audience_export_jobs(self, caller: Caller, *, audience_generation_job_arn: str | None = None) -> Listing:
        """ListAudienceExportJobs; a location in another account is not shown (user guide, ml-behaviors)."""
        job = audience_generation_job_arn
        return self.store.listing(KIND, caller, entry=self._entry, audienceGenerationJobArn=job)

    def _entry(self, record: Record) -> dict[str, Any]:
        view = record.view()
        if view["status"] == "ACTIVE" and record.fields["ownersFiles"] and record.life.work is not None:
            view["outputLocation"] = record.life.work.result()
        return view
