"""Data checks: whether training data and seeds can be used, before a job is paid for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_cleanroomsml._link_storage import store_request_links
from airflow_cleanroomsml.exceptions import ConfigurationError, InvalidRequestError
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator, list_set_arguments
from airflow_cleanroomsml.operators._data_check import DataCheckOperator

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml._data_checks.training_data import TrainingDataCheck
    from airflow_cleanroomsml.request_types import AudienceGenerationJobDataSource, Dataset
    from airflow_cleanroomsml.typing import AwsKwargs, Templated


class CleanRoomsMLCheckTrainingDataOperator(DataCheckOperator):
    """
    Check the data of a training dataset before a model is trained on it.

    Training takes up to two days, and the service reads the data only then. This task applies the rules of the user guide in seconds. It
    checks the Glue table, its columns, format and partitions against the schema of the dataset, that the files are there and in this
    region, and that the service may assume the role of the dataset and the role may read the table and the files. That reads no data.

    With ``statistics`` it also counts interactions, users, users with fewer than two interactions, missing values, timestamps that are not
    in epoch seconds, and duplicates. ``athena`` runs one query, and is meant for tables of real size. ``files`` reads the files in the
    worker, up to 2 GiB of them, and also finds malformed files; it needs the extra ``files`` of this package.

    All findings are in the log and in the report: rule, severity, field, problem, advice and source. Errors fail the task without a
    retry; warnings do not. Findings contain names and counts, but no values of the data. What the caller may not see is a warning. A query
    that Athena's own failure or a cancellation ended, as its ``AthenaError`` says (Athena API reference), is retried.

    The report of a task that fails is in XCom under the key ``report``.

    :param training_dataset_arn: ARN of the training dataset.
    :param training_data: The data as for ``CleanRoomsMLCreateTrainingDatasetOperator``, to check it before there is a training dataset.
    :param role_arn: ARN of the role that reads the table; required with ``training_data``.
    :param training_data_start_time: Start of the training window.
    :param training_data_end_time: End of the training window.
    :param statistics: How to count the data, ``athena`` or ``files``; ``statistics=None`` in the Dag reads no data and counts nothing. A
        template or output that turns out to be None is refused, because it may be a mistake that leaves out the check.
    :param min_interactions: Least number of interactions; lower than the default only makes sense for an emulator.
    :param min_users: Least number of users with at least two interactions; likewise.
    :param warn_only: Names of rules whose findings are warnings.
    :param athena_workgroup: Athena workgroup.
    :param athena_output_location: S3 URI for the result of the query; not needed if the workgroup has one.
    :param athena_catalog: Athena data catalog with the table. If the dataset names the Glue catalog of another account (``catalogId``), set
        the name under which that catalog is registered in Athena; by default nothing is counted then, and a warning says so.
    :return: The report: ``errors``, ``warnings``, ``findings``, ``statistics`` and ``files``.
    """

    reference = "create_audience_model"
    template_fields = (
        "training_dataset_arn",
        "training_data",
        "role_arn",
        "training_data_start_time",
        "training_data_end_time",
        "statistics",
        "min_interactions",
        "min_users",
        "warn_only",
        "athena_workgroup",
        "athena_output_location",
        "athena_catalog",
        *CleanRoomsMLOperator.template_fields,
    )
    members: ClassVar[Mapping[str, str]] = {
        "training_dataset_arn": "create_audience_model",
        "training_data": "create_training_dataset",
        "role_arn": "create_training_dataset",
    }

    def __init__(
        self,
        *,
        training_dataset_arn: Templated[str] | None = None,
        training_data: Templated[Sequence[Templated[Dataset]]] | None = None,
        role_arn: Templated[str] | None = None,
        training_data_start_time: Templated[datetime] | None = None,
        training_data_end_time: Templated[datetime] | None = None,
        statistics: Templated[Literal["athena", "files"]] | None = None,
        min_interactions: Templated[int] = 1_000_000,
        min_users: Templated[int] = 100_000,
        warn_only: Templated[Sequence[Templated[str]]] | None = None,
        athena_workgroup: Templated[str] = "primary",
        athena_output_location: Templated[str] | None = None,
        athena_catalog: Templated[str] = "AwsDataCatalog",
        **kwargs: Unpack[AwsKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.training_dataset_arn = training_dataset_arn
        self.training_data = training_data
        self.role_arn = role_arn
        self.training_data_start_time = training_data_start_time
        self.training_data_end_time = training_data_end_time
        self.statistics = statistics
        self.min_interactions = min_interactions
        self.min_users = min_users
        self.warn_only = warn_only
        self.athena_workgroup = athena_workgroup
        self.athena_output_location = athena_output_location
        self.athena_catalog = athena_catalog
        # Kept for on_kill, which has to stop a running query.
        self._check: TrainingDataCheck | None = None
        self._set_arguments = list_set_arguments(self, "statistics")

    def execute(self, context: Context) -> dict[str, Any]:
        """Check table, files, role and, on request, the data."""
        from airflow_cleanroomsml._data_checks.training_data import TrainingDataCheck

        self.check_connection()
        store_request_links(self, context)
        self._check = TrainingDataCheck(self.hook, self.connection, _load_arguments(self))
        return self.report(context, self._check.run)

    def on_kill(self) -> None:
        """Stop the query, which would otherwise continue to cost money."""
        if self._check:
            self._check.stop_query()


class CleanRoomsMLCheckSeedAudienceOperator(DataCheckOperator):
    """
    Check a seed before an audience is generated from it.

    A seed in S3 is read, up to 256 MiB: JSON lines with a ``user_id`` each, 25 to 500,000 unique ones, in this region. The result of a
    query that was written to S3 is CSV or Parquet, and is refused as it is when the audience is generated. Of a SQL seed only the role is
    checked, because its users are not known before the query runs. The task also checks that the service may assume the role of the seed,
    and that the role may read the files.

    All findings are in the log and in the report: rule, severity, field, problem, advice and source. Errors fail the task without a
    retry; warnings do not. Findings contain no user ids.

    The report of a task that fails is in XCom under the key ``report``.

    :param seed_audience: The seed, as for ``CleanRoomsMLStartAudienceGenerationJobOperator``.
    :param min_matching_seed_size: ``minMatchingSeedSize`` of the configured audience model, 500 by default in the API: as many users of the
        seed have to be among those of the training data. The task only checks that the seed has as many. A template or output that turns
        out to be None is refused.
    :param min_seed_size: Least number of unique user ids; lower than the default only makes sense for an emulator.
    :param warn_only: Names of rules whose findings are warnings.
    :return: The report: ``errors``, ``warnings``, ``findings`` and ``users``.
    """

    reference = "start_audience_generation_job"
    template_fields = (
        "seed_audience",
        "min_matching_seed_size",
        "min_seed_size",
        "warn_only",
        *CleanRoomsMLOperator.template_fields,
    )
    members: ClassVar[Mapping[str, str]] = {"seed_audience": "start_audience_generation_job"}

    def __init__(
        self,
        *,
        seed_audience: Templated[AudienceGenerationJobDataSource],
        min_matching_seed_size: Templated[int] | None = None,
        min_seed_size: Templated[int] = 25,
        warn_only: Templated[Sequence[Templated[str]]] | None = None,
        **kwargs: Unpack[AwsKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.seed_audience = seed_audience
        self.min_matching_seed_size = min_matching_seed_size
        self.min_seed_size = min_seed_size
        self.warn_only = warn_only
        self._set_arguments = list_set_arguments(self, "min_matching_seed_size")

    def execute(self, context: Context) -> dict[str, Any]:
        """Check the seed and its role."""
        from airflow_cleanroomsml._data_checks.seed import check_seed

        self.check_connection()
        store_request_links(self, context)
        arguments = self._load_arguments()
        return self.report(context, lambda findings: check_seed(self.hook, arguments, findings))

    def _load_arguments(self) -> dict[str, Any]:
        """
        Check the arguments of the check of a seed.

        :raises InvalidRequestError: Arguments are not valid.
        """
        from airflow_cleanroomsml._requests.arguments import integer

        shapes = {"min_matching_seed_size": integer(1), "min_seed_size": integer(1)}
        return self.check_fields(shapes, "seed_audience", "min_seed_size")


def _load_arguments(operator: DataCheckOperator) -> dict[str, Any]:
    """
    Check the arguments of the check of training data, and read the training dataset.

    :raises InvalidRequestError: Arguments are not valid.
    :raises ConfigurationError: Files cannot be read.
    """
    from airflow_cleanroomsml._requests.arguments import STRING, TIME, choice, integer

    shapes = {
        "training_data_start_time": TIME,
        "training_data_end_time": TIME,
        "statistics": choice("athena", "files"),
        "min_interactions": integer(1),
        "min_users": integer(1),
        **dict.fromkeys(("athena_workgroup", "athena_output_location", "athena_catalog"), STRING),
    }
    arguments = operator.check_fields(shapes, "min_interactions", "min_users", "athena_workgroup", "athena_catalog")
    given = {name for name in operator.members if name in arguments}
    if given not in ({"training_dataset_arn"}, {"training_data", "role_arn"}):
        raise InvalidRequestError(
            "training_dataset_arn, training_data, role_arn: set either the ARN of a training dataset, or training_data with "
            f"role_arn; given: {', '.join(sorted(given)) or 'none'}. Nothing was sent."
        )
    if arguments.get("statistics") == "files" and find_spec("pyarrow") is None:
        raise ConfigurationError(
            'statistics: "files" needs pyarrow, which is not installed. Install airflow-provider-cleanroomsml[files], or use "athena".'
        )
    if "training_data" in given:
        return arguments
    found = operator.hook.call("get_training_dataset", {"training_dataset_arn": arguments["training_dataset_arn"]})
    return {**arguments, "training_data": found["trainingData"], "role_arn": found["roleArn"]}
