"""Audience generation jobs; one in another account's model is two resources, one in each account."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.emulator.backend.configured_audience_model_policy import (
    ConfiguredAudienceModelPolicies,
)
from airflow_cleanroomsml.emulator.errors import conflict, invalid
from airflow_cleanroomsml.emulator.life import Life
from airflow_cleanroomsml.emulator.lookalike import generate
from airflow_cleanroomsml.emulator.state import Caller, Record

KIND, NOUN = "audience-generation-job", "Audience generation job"
#: Sizes of the metrics where the configured audience model names none; what the service does then is not documented.
DEFAULT_SIZES: dict[str, Any] = {"audienceSizeType": "PERCENTAGE", "audienceSizeBins": [1, 5, 10, 15, 20]}


class AudienceGenerationJobs(ConfiguredAudienceModelPolicies):
    """Scoring all training users against a seed, in the background."""

    def start_audience_generation_job(
        self,
        caller: Caller,
        *,
        name: str,
        configured_audience_model_arn: str,
        seed_audience: dict[str, Any],
        include_seed_in_output: bool = False,
        collaboration_id: str | None = None,
        description: str | None = None,
        tags: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """StartAudienceGenerationJob."""
        model = self.store.get(configured_audience_model_arn, "Configured audience model")
        self.require_allowed(caller, model, collaboration_id)
        self.require_own_role(caller, seed_audience["roleArn"])
        if "dataSource" not in seed_audience:
            raise invalid("This emulator takes seeds from S3 (seedAudience.dataSource), not from SQL.")
        self.require_free_name(caller, KIND, NOUN, name)
        self.require_quota(
            caller,
            KIND,
            "Pending or in progress audience generation jobs",
            self.settings.generation_jobs_in_progress,
        )
        fields = {
            "name": name,
            "configuredAudienceModelArn": model.arn,
            "seedAudience": seed_audience,
            "includeSeedInOutput": include_seed_in_output,
            "collaborationId": collaboration_id,
            "description": description,
            "startedBy": caller.account,
            # The terms as they are now: an update does not reach jobs that were started before.
            "sizes": _sizes(model.fields),
            "seesMetrics": model.caller.account == caller.account or model.fields["sharedAudienceMetrics"] == ["ALL"],
        }
        record = self._run(caller, model, fields, tags or {})
        if model.caller.account != caller.account and record.life.work is not None:
            self._twin(record, model, self.following(record.life.work))
        return record.view()

    def _run(self, caller: Caller, model: Record, fields: dict[str, Any], tags: dict[str, str]) -> Record:
        trained = self.store.get(model.fields["audienceModelArn"], "Audience model")
        if trained.life.work is None:
            raise invalid(f"Audience model {trained.arn} has not been trained.")
        fitted, terms = trained.life.work.result(), dict(model.fields)
        uri, include = fields["seedAudience"]["dataSource"]["s3Uri"], fields["includeSeedInOutput"]

        def work() -> Any:
            return generate(
                self.client("s3", caller),
                fitted,
                seed_uri=uri,
                sizes=fields["sizes"],
                include_seed=include,
                min_matching_seed_size=terms["minMatchingSeedSize"],
                rules=self.settings.rules,
            )

        record = Record(KIND, fields, caller, self.job(work), "audienceGenerationJobArn", dict(tags))
        if terms["childResourceTagOnCreatePolicy"] == "FROM_PARENT_RESOURCE" and model.caller.account == caller.account:
            record.tags = {**model.tags, **tags}
        return self.store.add(record)

    def _twin(self, record: Record, model: Record, life: Life) -> None:
        """The same job as the model's owner sees it: other ARN and name, no seed, none of the caller's tags."""
        fields = {key: value for key, value in record.fields.items() if key != "seedAudience"}
        fields["seesMetrics"] = True
        fields["name"] = f"{record.caller.account}-{record.fields['name']}"
        inherits = model.fields["childResourceTagOnCreatePolicy"] == "FROM_PARENT_RESOURCE"
        tags = dict(model.tags) if inherits else {}
        self.store.add(Record(KIND, fields, model.caller, life, "audienceGenerationJobArn", tags))

    def get_audience_generation_job(self, caller: Caller, *, audience_generation_job_arn: str) -> dict[str, Any]:
        """GetAudienceGenerationJob; the metrics are the caller's where the model is, or where it shares them."""
        record = self.store.get(audience_generation_job_arn, NOUN, caller)
        view = record.view()
        if view["status"] == "ACTIVE" and record.life.work is not None and record.fields["seesMetrics"]:
            view["metrics"] = record.life.work.result().metrics
        return view

    def list_audience_generation_jobs(
        self,
        caller: Caller,
        *,
        configured_audience_model_arn: str | None = None,
        collaboration_id: str | None = None,
    ) -> list[dict[str, Any]]:
        """ListAudienceGenerationJobs."""
        return [
            record.view()
            for record in self.store.all(KIND, caller)
            if configured_audience_model_arn in (None, record.fields["configuredAudienceModelArn"])
            and collaboration_id in (None, record.fields["collaborationId"])
        ]

    def delete_audience_generation_job(self, caller: Caller, *, audience_generation_job_arn: str) -> dict[str, Any]:
        """DeleteAudienceGenerationJob; refused while it runs. What was exported stays."""
        record = self.store.get(audience_generation_job_arn, NOUN, caller)
        if record.status not in ("ACTIVE", "CREATE_FAILED"):
            raise conflict(f"Audience generation job {record.arn} is {record.status}.")
        self.delete(record)
        return {}


def _sizes(terms: dict[str, Any]) -> list[tuple[str, int]]:
    config = terms["audienceSizeConfig"] or DEFAULT_SIZES
    return [(config["audienceSizeType"], value) for value in config["audienceSizeBins"]]
