"""Policies of configured audience models: who else may start generation jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._resources.data_flow import DataFlow
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator
from airflow_cleanroomsml.operators._delete import CleanRoomsMLDeleteOperator

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml.request_types import PolicyExistenceCondition
    from airflow_cleanroomsml.typing import AwsKwargs, Templated


class CleanRoomsMLPutConfiguredAudienceModelPolicyOperator(CleanRoomsMLOperator):
    """
    Write the resource policy of a configured audience model.

    :param configured_audience_model_arn: ARN of the configured audience model.
    :param configured_audience_model_policy: IAM resource policy as JSON text, up to 20,480 characters.
    :param previous_policy_hash: Hash of the policy that this one replaces; the service refuses the request if the policy has changed.
    :param policy_existence_condition: ``POLICY_MUST_EXIST`` or ``POLICY_MUST_NOT_EXIST``.
    :return: Hash of the policy.
    """

    operation = "put_configured_audience_model_policy"
    returns = "policy_hash"

    def __init__(
        self,
        *,
        configured_audience_model_arn: Templated[str],
        configured_audience_model_policy: Templated[str | Mapping[str, Any]],
        previous_policy_hash: Templated[str] | None = None,
        policy_existence_condition: Templated[PolicyExistenceCondition] | None = None,
        **kwargs: Unpack[AwsKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.configured_audience_model_arn = configured_audience_model_arn
        self.configured_audience_model_policy = configured_audience_model_policy
        self.previous_policy_hash = previous_policy_hash
        self.policy_existence_condition = policy_existence_condition


class CleanRoomsMLDeleteConfiguredAudienceModelPolicyOperator(CleanRoomsMLDeleteOperator):
    """
    Delete the resource policy of a configured audience model.

    :param configured_audience_model_arn: ARN of the configured audience model.
    """

    operation = "delete_configured_audience_model_policy"

    def __init__(self, *, configured_audience_model_arn: Templated[str], **kwargs: Unpack[AwsKwargs]) -> None:
        super().__init__(**kwargs)
        self.configured_audience_model_arn = configured_audience_model_arn

    def describe_data_flow(self) -> DataFlow:
        """Describe nothing: the configured audience model remains."""
        return DataFlow()
