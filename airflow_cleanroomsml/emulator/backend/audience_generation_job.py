"""Audience generation jobs; one in another account's model is two resources, one in each account."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.emulator.backend.configured_audience_model_policy import (
    ConfiguredAudienceModelPolicies,
)
from airflow_cleanroomsml.emulator.backend.protected_query import Queries
from airflow_cleanroomsml.emulator.errors import conflict, invalid, not_found
from airflow_cleanroomsml.emulator.lifecycle import Life
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.lookalike import JobFailure, StatusCode
from airflow_cleanroomsml.emulator.store import Caller, Record

KIND, NOUN = "audience-generation-job", "Audience generation job"
#: Sizes of the metrics where the configured audience model names none; what the service does then is not documented.
DEFAULT_SIZES: dict[str, Any] = {"audienceSizeType": "PERCENTAGE", "audienceSizeBins": [1, 5, 10, 15, 20]}


class AudienceGenerationJobs(ConfiguredAudienceModelPolicies, Queries):
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
        if model.caller.region != caller.region:
            raise not_found("Configured audience model", model.arn)
        self.require_allowed(caller, model, collaboration_id)
        if collaboration_id is not None:
            self.collaboration(caller, collaboration_id)
        self.require_own_role(caller, seed_audience["roleArn"])
        if ("dataSource" in seed_audience) == ("sqlParameters" in seed_audience):
            raise invalid("seedAudience: give either dataSource or sqlParameters.")
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
        life = self._query(caller, fields) if "sqlParameters" in seed_audience else self._run(caller, model, fields)
        record = Record(KIND, fields, caller, life, "audienceGenerationJobArn", dict(tags or {}))
        own = model.caller.account == caller.account
        if own and model.fields["childResourceTagOnCreatePolicy"] == "FROM_PARENT_RESOURCE":
            record.tags = {**model.tags, **record.tags}
        self.store.add(record)
        if not own:
            self._twin(record, model)
        return record.view()

    def _query(self, caller: Caller, fields: dict[str, Any]) -> Life:
        """A job whose seed is a query: nothing runs SQL here, so both fail, with an error that quotes it as engines do."""
        if fields["collaborationId"] is None:
            raise invalid("A seed of SQL is queried in a collaboration: give its collaborationId.")
        collaboration = self.collaboration(caller, fields["collaborationId"])
        member = self.member(collaboration, caller.account) or {}
        membership = self.active_membership(caller, member["membershipId"], "CAN_QUERY")
        seed, life = fields["seedAudience"], self.following(None)
        text = seed["sqlParameters"].get("queryString") or seed["sqlParameters"].get("analysisTemplateArn", "")
        if life.verdict is None:
            message = f"The query failed, for this emulator runs no SQL; at line 1, position 0: {text}"
            life.fail(JobFailure(StatusCode.QUERY_FAILED, message))
        fields["protectedQueryIdentifier"] = self.query(
            membership, seed["sqlParameters"], seed.get("sqlComputeConfiguration"), life
        )
        return life

    def _run(self, caller: Caller, model: Record, fields: dict[str, Any]) -> Life:
        trained = self.store.get(model.fields["audienceModelArn"], "Audience model")
        if trained.life.work is None:
            raise invalid(f"Audience model {trained.arn} has not been trained.")
        fitted, terms = trained.life.work.result(), dict(model.fields)
        uri, include = fields["seedAudience"]["dataSource"]["s3Uri"], fields["includeSeedInOutput"]

        def work() -> Any:
            # As in training: the libraries are slow to import.
            from airflow_cleanroomsml.emulator.lookalike.audience import generate

            return generate(
                self.client("s3", caller, fields["seedAudience"]["roleArn"]),
                fitted,
                seed_uri=uri,
                sizes=fields["sizes"],
                include_seed=include,
                min_matching_seed_size=terms["minMatchingSeedSize"],
                rules=self.settings.rules,
            )

        return self.job(work)

    def _twin(self, record: Record, model: Record) -> None:
        """The same job as the model's owner sees it: other ARN and name, no seed, none of the caller's tags."""
        hidden = ("seedAudience", "protectedQueryIdentifier")
        fields = {key: value for key, value in record.fields.items() if key not in hidden}
        fields["seesMetrics"] = True
        fields["name"] = f"{record.caller.account}-{record.fields['name']}"
        inherits = model.fields["childResourceTagOnCreatePolicy"] == "FROM_PARENT_RESOURCE"
        tags = dict(model.tags) if inherits else {}
        life = self.following(record.life.work)
        if record.life.verdict is not None:
            life.fail(record.life.verdict)
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
    ) -> Listing:
        """ListAudienceGenerationJobs."""
        return self.store.listing(
            KIND, caller, configuredAudienceModelArn=configured_audience_model_arn, collaborationId=collaboration_id
        )

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
