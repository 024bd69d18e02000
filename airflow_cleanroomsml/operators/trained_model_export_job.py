"""Trained model export jobs: a trained model's files in the S3 location of a member of the collaboration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._resources.table import CLEAN_ROOMS, TRAINED_MODEL_EXPORT_JOB
from airflow_cleanroomsml.exceptions import AccessDeniedError, ResourceNotFoundError
from airflow_cleanroomsml.operators._job import CleanRoomsMLJobOperator

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml._requests.request import Request
    from airflow_cleanroomsml.request_types import TrainedModelExportOutputConfiguration
    from airflow_cleanroomsml.typing import CreatingAndWaitingKwargs, Templated


class CleanRoomsMLStartTrainedModelExportJobOperator(CleanRoomsMLJobOperator):
    """
    Start a trained model export job: write a trained model's files to the location of a member's ML configuration.

    An export has no ARN and no Get operation: it is found in the collaboration's listing by model, version, member and name. The
    collaboration is looked up before the start, from the model or, where the caller does not own it, from the membership.

    :param membership_identifier: Membership of the member that receives the files, a UUID.
    :param trained_model_arn: ARN of the trained model.
    :param name: Name of the export, 1 to 63 characters.
    :param output_configuration: The account that receives the files, ``{"members": [{"accountId": …}]}``.
    :param trained_model_version_identifier: Version, a UUID; the service does not document which one it uses if None, or
        ``NULL``.
    :param description: Description, up to 255 characters.
    :return: ``name``, ``trained_model_arn`` and ``output_location``, which is None: the service does not return it.
    """

    operation = "start_trained_model_export_job"
    resource = TRAINED_MODEL_EXPORT_JOB

    def __init__(
        self,
        *,
        membership_identifier: Templated[str],
        trained_model_arn: Templated[str],
        name: Templated[str],
        output_configuration: Templated[TrainedModelExportOutputConfiguration],
        trained_model_version_identifier: Templated[str] | None = None,
        description: Templated[str] | None = None,
        **kwargs: Unpack[CreatingAndWaitingKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.membership_identifier = membership_identifier
        self.trained_model_arn = trained_model_arn
        self.name = name
        self.output_configuration = output_configuration
        self.trained_model_version_identifier = trained_model_version_identifier
        self.description = description

    def build_search_arguments(self, request: Request) -> dict[str, Any]:
        """Add the collaboration, whose listing shows the export; the request names the membership only."""
        return {**request.arguments, "collaboration_identifier": self._find_collaboration(request.arguments)}

    def _find_collaboration(self, arguments: Mapping[str, Any]) -> Any:
        # The export has no Get operation, and its only listing is that of the collaboration (service model).
        membership = {"membership_identifier": arguments["membership_identifier"]}
        try:
            model = {"trained_model_arn": arguments["trained_model_arn"], **membership}
            return self.hook.call("get_trained_model", model)["collaborationIdentifier"]
        except (AccessDeniedError, ResourceNotFoundError):
            # The model may be another member's, and only its owner can read it.
            return self.hook.of(CLEAN_ROOMS).call("get_membership", membership)["membership"]["collaborationId"]

    def build_result(self, identifiers: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return what identifies the export, and where it is."""
        return {
            "name": identifiers["name"],
            "trained_model_arn": identifiers["trained_model_arn"],
            "output_location": None,
        }
