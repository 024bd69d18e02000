"""Audience generation jobs; a job on another account's model is two resources, one in each account (user guide, ml-behaviors)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from airflow_cleanroomsml.emulator.backend.access import Access
from airflow_cleanroomsml.emulator.backend.base import BackendContext
from airflow_cleanroomsml.emulator.backend.configured_audience_model_policy import (
    ConfiguredAudienceModelPolicies,
)
from airflow_cleanroomsml.emulator.backend.protected_query import QueryRecorder
from airflow_cleanroomsml.emulator.errors import conflict_error, not_found_error, validation_error
from airflow_cleanroomsml.emulator.lifecycle import Lifecycle
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.lookalike import JobFailure, StatusCode
from airflow_cleanroomsml.emulator.store import Caller, Record

KIND, NOUN = "audience-generation-job", "Audience generation job"
#: Sizes of the metrics if the configured audience model has none; AWS does not document the sizes in that case.
DEFAULT_SIZES: dict[str, Any] = {"audienceSizeType": "PERCENTAGE", "audienceSizeBins": [1, 5, 10, 15, 20]}


@dataclass(frozen=True)
class GenerationDetails:
    """
    Details of a generation job, copied from its model: an update does "not impact currently running jobs" (API reference).

    :param sizes: Types and values of the audience sizes that can be exported.
    :param min_matching_seed_size: Minimum number of users of the seed that must be in the training data.
    :param shows_metrics: Whether the caller may see the metrics.
    """

    sizes: list[tuple[str, int]]
    min_matching_seed_size: int
    shows_metrics: bool


class AudienceGenerationJobs(Access):
    """Operations on audience generation jobs, which score all training users against a seed."""

    def __init__(self, context: BackendContext) -> None:
        super().__init__(context)
        self._policies = ConfiguredAudienceModelPolicies(context)
        self._queries = QueryRecorder(context)

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
        # Without the caller, because a model of another account can be used in a collaboration (user guide, ml-behaviors).
        model = self.store.get(configured_audience_model_arn, "Configured audience model")
        if model.caller.region != caller.region:
            raise not_found_error("Configured audience model", model.arn)
        self._policies.require_allowed(caller, model, collaboration_id)
        if collaboration_id is not None:
            self.require_collaboration(caller, collaboration_id)
        self.require_own_role(caller, seed_audience["roleArn"])
        if ("dataSource" in seed_audience) == ("sqlParameters" in seed_audience):
            raise validation_error("seedAudience must have exactly one of dataSource and sqlParameters.")
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
        }
        is_owner = model.caller.account == caller.account
        details = GenerationDetails(
            _list_sizes(model.fields),
            model.fields["minMatchingSeedSize"],
            shows_metrics=is_owner or model.fields["sharedAudienceMetrics"] == ["ALL"],
        )
        lifecycle = (
            self._start_query(caller, fields)
            if "sqlParameters" in seed_audience
            else self._start_scoring(caller, model, fields, details)
        )
        record = Record(KIND, fields, caller, lifecycle, "audienceGenerationJobArn", dict(tags or {}), details=details)
        # The caller's tags take precedence over inherited ones (API reference, childResourceTagOnCreatePolicy).
        if is_owner and model.fields["childResourceTagOnCreatePolicy"] == "FROM_PARENT_RESOURCE":
            record.tags = {**model.tags, **record.tags}
        self.store.add(record)
        if not is_owner:
            self._add_owner_job(record, model)
        return record.describe()

    def _start_query(self, caller: Caller, fields: dict[str, Any]) -> Lifecycle:
        """
        Start a job whose seed is a SQL query.

        The emulator runs no SQL, so job and query fail, with an error that quotes the query as SQL engines do.
        """
        if fields["collaborationId"] is None:
            raise validation_error("A seed audience with sqlParameters requires a collaborationId.")
        collaboration = self.require_collaboration(caller, fields["collaborationId"])
        member = self.find_member(collaboration, caller.account) or {}
        membership = self.require_active_membership(caller, member["membershipId"], "CAN_QUERY")
        seed, lifecycle = fields["seedAudience"], self.build_lifecycle(None)
        text = seed["sqlParameters"].get("queryString") or seed["sqlParameters"].get("analysisTemplateArn", "")
        if lifecycle.forced_failure is None:
            message = f"The query failed because the emulator does not run SQL; at line 1, position 0: {text}"
            lifecycle.fail(JobFailure(StatusCode.QUERY_FAILED, message))
        fields["protectedQueryIdentifier"] = self._queries.record_query(
            membership, seed["sqlParameters"], seed.get("sqlComputeConfiguration"), lifecycle
        )
        return lifecycle

    def _start_scoring(
        self, caller: Caller, model: Record, fields: dict[str, Any], details: GenerationDetails
    ) -> Lifecycle:
        trained = self.store.get(model.fields["audienceModelArn"], "Audience model")
        if trained.lifecycle.work is None:
            raise validation_error(f"The audience model {trained.arn} was not trained and cannot score users.")
        lookalike_model = trained.lifecycle.work.result()
        uri, include = fields["seedAudience"]["dataSource"]["s3Uri"], fields["includeSeedInOutput"]

        def work() -> Any:
            # Slow to import, as in training.
            from airflow_cleanroomsml.emulator.lookalike.audience import generate

            return generate(
                self.clients.build("s3", caller, fields["seedAudience"]["roleArn"]),
                lookalike_model,
                seed_uri=uri,
                sizes=details.sizes,
                include_seed=include,
                min_matching_seed_size=details.min_matching_seed_size,
                rules=self.settings.rules,
            )

        return self.run_in_background(work)

    def _add_owner_job(self, record: Record, model: Record) -> None:
        """
        Add the job as the model's owner sees it: with an ARN of its own, a prefix to its name, and without seed and caller's tags.

        The owner sees a job of account 111122223333 as ``111122223333-name`` (user guide, ml-behaviors).
        """
        # The seed is the caller's own data, and the query runs in the caller's membership.
        hidden = ("seedAudience", "protectedQueryIdentifier")
        fields = {key: value for key, value in record.fields.items() if key not in hidden}
        fields["name"] = f"{record.caller.account}-{record.fields['name']}"
        inherits = model.fields["childResourceTagOnCreatePolicy"] == "FROM_PARENT_RESOURCE"
        tags = dict(model.tags) if inherits else {}
        # Both resources share the computation, so that they succeed or fail together, but can be deleted independently.
        lifecycle = self.build_lifecycle(record.lifecycle.work)
        if record.lifecycle.forced_failure is not None:
            lifecycle.fail(record.lifecycle.forced_failure)
        details = replace(record.details, shows_metrics=True)
        self.store.add(Record(KIND, fields, model.caller, lifecycle, "audienceGenerationJobArn", tags, details=details))

    def get_audience_generation_job(self, caller: Caller, *, audience_generation_job_arn: str) -> dict[str, Any]:
        """GetAudienceGenerationJob; a caller who does not own the model only sees metrics that it shares."""
        record = self.store.get(audience_generation_job_arn, NOUN, caller)
        describe = record.describe()
        if describe["status"] == "ACTIVE" and record.lifecycle.work is not None and record.details.shows_metrics:
            describe["metrics"] = record.lifecycle.work.result().metrics
        return describe

    def list_audience_generation_jobs(
        self,
        caller: Caller,
        *,
        configured_audience_model_arn: str | None = None,
        collaboration_id: str | None = None,
    ) -> Listing:
        """ListAudienceGenerationJobs."""
        return self.store.build_listing(
            KIND, caller, configuredAudienceModelArn=configured_audience_model_arn, collaborationId=collaboration_id
        )

    def delete_audience_generation_job(self, caller: Caller, *, audience_generation_job_arn: str) -> dict[str, Any]:
        """DeleteAudienceGenerationJob; rejected while the job runs. Exported audiences remain."""
        record = self.store.get(audience_generation_job_arn, NOUN, caller)
        if record.status not in ("ACTIVE", "CREATE_FAILED"):
            raise conflict_error(
                f"The audience generation job {record.arn} is {record.status}; only an ACTIVE or CREATE_FAILED job can be deleted."
            )
        self.delete(record)
        return {}


def _list_sizes(model: dict[str, Any]) -> list[tuple[str, int]]:
    config = model["audienceSizeConfig"] or DEFAULT_SIZES
    return [(config["audienceSizeType"], value) for value in config["audienceSizeBins"]]
