"""Configured audience models: how others may use an audience model, and where their audiences go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._resources.handle import Handle
from airflow_cleanroomsml._resources.table import CONFIGURED_AUDIENCE_MODEL
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator
from airflow_cleanroomsml.operators._create import CleanRoomsMLCreateOperator
from airflow_cleanroomsml.operators._delete import CleanRoomsMLDeleteOperator

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml._requests.request import Request
    from airflow_cleanroomsml._resources.data_flow import DataFlow
    from airflow_cleanroomsml.request_types import (
        AudienceSizeConfig,
        ConfiguredAudienceModelOutputConfig,
        SharedAudienceMetrics,
        TagOnCreatePolicy,
    )
    from airflow_cleanroomsml.typing import AwsKwargs, Templated, UpdatingKwargs


class CleanRoomsMLCreateConfiguredAudienceModelOperator(CleanRoomsMLCreateOperator):
    """
    Create a configured audience model, which says how others may use an audience model, and where their audiences go.

    ``if_exists="update"`` changes an existing one of the same name to match the request, so that one Dag creates it first and offers each
    newly trained audience model later: members that differ are updated, tags are added, and everything else stays.

    :param name: Name of the configured audience model, 1 to 63 characters.
    :param audience_model_arn: ARN of the audience model that it offers.
    :param output_config: Where audiences are written, and the role that writes them.
    :param shared_audience_metrics: Metrics that the seed's owner receives, ``["ALL"]`` or ``["NONE"]``.
    :param min_matching_seed_size: Minimum number of a seed's users that must be among the training users, 25 to 500,000.
    :param audience_size_config: Sizes that an audience may have: 1 to 25 numbers of users, or percentages of the training users.
    :param child_resource_tag_on_create_policy: Whether generation jobs inherit the tags, ``FROM_PARENT_RESOURCE`` or ``NONE``.
    :param tags: Up to 50 tags.
    :param description: Description, up to 255 characters.
    :return: ARN of the configured audience model.
    """

    operation = "create_configured_audience_model"
    returns = "configured_audience_model_arn"
    resource = CONFIGURED_AUDIENCE_MODEL
    choices = ("fail", "reuse", "update")

    def __init__(
        self,
        *,
        name: Templated[str],
        audience_model_arn: Templated[str],
        output_config: Templated[ConfiguredAudienceModelOutputConfig],
        shared_audience_metrics: Templated[Sequence[Templated[SharedAudienceMetrics]]],
        min_matching_seed_size: Templated[int] | None = None,
        audience_size_config: Templated[AudienceSizeConfig] | None = None,
        child_resource_tag_on_create_policy: Templated[TagOnCreatePolicy] | None = None,
        tags: Templated[Mapping[str, Templated[str]]] | None = None,
        description: Templated[str] | None = None,
        **kwargs: Unpack[UpdatingKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.audience_model_arn = audience_model_arn
        self.output_config = output_config
        self.shared_audience_metrics = shared_audience_metrics
        self.min_matching_seed_size = min_matching_seed_size
        self.audience_size_config = audience_size_config
        self.child_resource_tag_on_create_policy = child_resource_tag_on_create_policy
        self.tags = tags
        self.description = description

    def update_existing(self, request: Request, handle: Handle, description: Mapping[str, Any]) -> None:
        """Change what the API can change and add missing tags; the rest is logged."""
        from botocore import xform_name

        from airflow_cleanroomsml._requests.request import find_argument_shapes
        from airflow_cleanroomsml._resources.diff import find_differences_by_member

        arn = handle.identifiers["configured_audience_model_arn"]
        updatable = find_argument_shapes(self.service, "update_configured_audience_model")
        by_member = find_differences_by_member(request, self.resource, description)
        different = {xform_name(name): lines for name, lines in by_member.items() if lines}
        # Only what differs: an update that changes nothing would need permissions that the task does without.
        changes = {name: request.arguments[name] for name in different if name in updatable}
        if changes:
            self.hook.call("update_configured_audience_model", {"configured_audience_model_arn": arn, **changes})
            changed = "; ".join(line for name in changes for line in different[name])
            self.log.info(
                "Changed the configured audience model %s, which differed from the request: %s.", arn, changed
            )
        for line in different.get("child_resource_tag_on_create_policy", ()):
            self.log.warning(
                "%s; the API cannot change it. To change it, create a configured audience model with another name.",
                line,
            )
        # Tags are only added. Those of the resource include the claim by which a retry of the task that created it finds it.
        self._add_tags(arn, request.members.get("tags", {}), description.get("tags") or {})

    def _add_tags(self, arn: str, requested: Mapping[str, str], present: Mapping[str, str]) -> None:
        missing = {key: value for key, value in requested.items() if present.get(key) != value}
        if missing:
            self.hook.call("tag_resource", {"resource_arn": arn, "tags": missing})
            self.log.info("Tagged the configured audience model %s with %s.", arn, ", ".join(missing))


class CleanRoomsMLUpdateConfiguredAudienceModelOperator(CleanRoomsMLOperator):
    """
    Change a configured audience model, for instance to a newly trained audience model.

    Its ARN, its policy and its associations stay; jobs that are running are not affected.

    :param configured_audience_model_arn: ARN of the configured audience model.
    :param audience_model_arn: ARN of the audience model that it offers from now on.
    :param output_config: Where audiences are written, and the role that writes them.
    :param shared_audience_metrics: Metrics that the seed's owner receives, ``["ALL"]`` or ``["NONE"]``.
    :param min_matching_seed_size: Minimum number of a seed's users that must be among the training users, 25 to 500,000.
    :param audience_size_config: Sizes that an audience may have: 1 to 25 numbers of users, or percentages of the training users.
    :param description: Description, up to 255 characters.
    :return: ARN of the configured audience model.
    """

    operation = "update_configured_audience_model"
    returns = "configured_audience_model_arn"

    def __init__(
        self,
        *,
        configured_audience_model_arn: Templated[str],
        audience_model_arn: Templated[str] | None = None,
        output_config: Templated[ConfiguredAudienceModelOutputConfig] | None = None,
        shared_audience_metrics: Templated[Sequence[Templated[SharedAudienceMetrics]]] | None = None,
        min_matching_seed_size: Templated[int] | None = None,
        audience_size_config: Templated[AudienceSizeConfig] | None = None,
        description: Templated[str] | None = None,
        **kwargs: Unpack[AwsKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.configured_audience_model_arn = configured_audience_model_arn
        self.audience_model_arn = audience_model_arn
        self.output_config = output_config
        self.shared_audience_metrics = shared_audience_metrics
        self.min_matching_seed_size = min_matching_seed_size
        self.audience_size_config = audience_size_config
        self.description = description

    def describe_data_flow(self) -> DataFlow:
        """Describe the audience model on offer, and the configured audience model that offers it."""
        from airflow_cleanroomsml._resources.data_flow import DataFlow, find_data

        inputs = find_data({"audience_model_arn": self.audience_model_arn})
        return DataFlow(inputs, find_data(self.data_members), members=self.data_members)


class CleanRoomsMLDeleteConfiguredAudienceModelOperator(CleanRoomsMLDeleteOperator):
    """
    Delete a configured audience model; the service refuses while generation jobs use it.

    :param configured_audience_model_arn: ARN of the configured audience model.
    """

    operation = "delete_configured_audience_model"

    def __init__(self, *, configured_audience_model_arn: Templated[str], **kwargs: Unpack[AwsKwargs]) -> None:
        super().__init__(**kwargs)
        self.configured_audience_model_arn = configured_audience_model_arn
