"""Data checks: whether training data and seeds can be used, before a job is paid for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_cleanroomsml._compat import cached
from airflow_cleanroomsml._requests.sensitive import reveal
from airflow_cleanroomsml._templating import TEXT
from airflow_cleanroomsml._training_data.rules import Finding, Findings, Rule, lower_severity
from airflow_cleanroomsml._xcom import push_results
from airflow_cleanroomsml.exceptions import (
    CleanRoomsMLError,
    ConfigurationError,
    DataCheckFailedError,
    InvalidRequestError,
    lines,
)
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml._training_data.limits import DataRules
    from airflow_cleanroomsml._training_data.role import JobRole
    from airflow_cleanroomsml._training_data.statistics import Statistics
    from airflow_cleanroomsml._training_data.table_check import CheckedTable
    from airflow_cleanroomsml._training_data.window import Window
    from airflow_cleanroomsml.request_types import AudienceGenerationJobDataSource, Dataset
    from airflow_cleanroomsml.typing import AwsKwargs, Templated

#: Bytes of files that a worker reads at most: with pyarrow they take some ten times as much memory.
_MOST_BYTES = 2 * 1024**3
_GIBIBYTE = 1024**3
#: Seconds between two polls of a query.
_ATHENA_SECONDS = 5
_S3_REMEDY = "allow s3:ListBucket, and s3:GetObject where files are read, to the role or user of the connection"
_SQL_REMEDY = "run the query yourself and count its users"


class _DataCheckOperator(CleanRoomsMLOperator):
    """The base of the checks: they collect findings, report them, and fail if one is an error."""

    ui_color = "#fff3d6"
    #: boto3's method names that have the members of an argument, by argument.
    members: ClassVar[Mapping[str, str]] = {}

    warn_only: Any

    def _argument_shapes(self) -> dict[str, Any]:
        from airflow_cleanroomsml._requests.arguments import member

        return {name: member(operation, name) for name, operation in self.members.items()}

    def _field_shapes(self) -> dict[str, Any]:
        names = [name for name in self.template_fields if name not in (*self.connection_fields, "warn_only")]
        return {**dict.fromkeys(names, TEXT), **super()._field_shapes()}

    def _check_fields(self, shapes: Mapping[str, Any], *required: str) -> dict[str, Any]:
        from airflow_cleanroomsml._requests.arguments import check_arguments

        all_shapes = {**self._argument_shapes(), **shapes}
        given = {name: reveal(getattr(self, name)) for name in all_shapes}
        return {**check_arguments(all_shapes, given, required=required), "warn_only": self._parse_warn_only()}

    def _parse_warn_only(self) -> list[str]:
        from airflow_cleanroomsml._requests.coercion import parse_container

        names = parse_container(self.warn_only) if isinstance(self.warn_only, str) else self.warn_only
        if names is None:
            return []
        if not isinstance(names, (list, tuple)) or (
            unknown := [name for name in names if name not in Rule.__members__]
        ):
            what = repr(names) if not isinstance(names, (list, tuple)) else ", ".join(map(str, unknown))
            raise InvalidRequestError(
                f"warn_only: {what}: unknown; must be a list of rules: {', '.join(Rule.__members__)}"
            )
        return list(names)

    def _finish(
        self,
        context: Context,
        arguments: Mapping[str, Any],
        findings: Findings,
        subject: str,
        numbers: Mapping[str, Any],
    ) -> dict[str, Any]:
        """
        Log and report the findings.

        :param arguments: The checked arguments.
        :param subject: What was checked.
        :param numbers: Further values of the report.
        :raises DataCheckFailedError: One of them is an error.
        """
        found = lower_severity(self._explain_denials(findings), arguments["warn_only"])
        found.sort(key=lambda finding: finding.severity.value)
        errors = [finding for finding in found if finding.severity.value == "error"]
        report = {
            "errors": len(errors),
            "warnings": len(found) - len(errors),
            "findings": [finding.describe() for finding in found],
            **numbers,
        }
        texts = [f"{each.severity.value.upper()} {each.rule.name} ({each.field}): {each}" for each in found]
        summary = f"{subject}: {report['errors']} errors, {report['warnings']} warnings"
        if not errors:
            (self.log.warning if found else self.log.info)("%s", lines(f"{summary}.", *texts))
            return report
        push_results(self, context, {"report": report})
        raise DataCheckFailedError(
            lines(f"{summary}. A job would fail; none was started.", *texts), [each.describe() for each in errors]
        )

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Translate errors of Glue, S3 and IAM that are not findings, and may be temporary."""
        from botocore.exceptions import BotoCoreError, ClientError

        from airflow_cleanroomsml.exceptions import UnreachableError, service_error

        try:
            yield
        except ClientError as error:
            raise service_error(error.operation_name, error.response) from None
        except BotoCoreError as error:
            raise UnreachableError(lines("The data could not be checked.", str(error))) from None

    def _explain_denials(self, findings: Findings) -> list[Finding]:
        """
        Return the findings; what the caller may not see says nothing about the role of the job.

        :raises CleanRoomsMLError: Glue or S3 failed, and may not fail the next time.
        """
        explained = []
        for finding in findings:
            if finding.rule in (Rule.GLUE_ERROR, Rule.S3_ERROR):
                raise CleanRoomsMLError(f"The check could not be completed. {finding}")
            if finding.rule is Rule.GLUE_ACCESS_DENIED:
                explained.append(Rule.TABLE_NOT_READABLE.build(finding.field, problem=finding.problem))
            elif finding.rule in (Rule.S3_ACCESS_DENIED, Rule.BUCKET_POLICY_DENIES):
                values = {"subject": "The files", "reason": finding.problem, "remedy": _S3_REMEDY}
                explained.append(Rule.NOT_CHECKED.build(finding.field, **values))
            else:
                explained.append(finding)
        return explained

    def _client(self, service: str) -> Any:
        return self.hook.of(service).conn


class CleanRoomsMLCheckTrainingDataOperator(_DataCheckOperator):
    """
    Check the data of a training dataset before a model is trained on it.

    Training takes up to a day, and the service reads the data only then. This task applies the rules of the user guide in seconds. It
    checks the Glue table, its columns, format and partitions against the schema of the dataset, that the files are there and in this
    region, and that the service may assume the role of the dataset and the role may read the table and the files. That reads no data.

    With ``statistics`` it also counts interactions, users, users with fewer than two interactions, missing values, timestamps that are not
    in epoch seconds, and duplicates. ``athena`` runs one query, and is meant for tables of real size. ``files`` reads the files in the
    worker, up to 2 GiB of them, and also finds malformed files; it needs the extra ``files`` of this package.

    All findings are in the log and in the report: rule, severity, field, problem, advice and source. Errors fail the task without a
    retry; warnings do not. Findings contain names and counts, but no values of the data. What the caller may not see is a warning.

    The report of a task that fails is in XCom under the key ``report``.

    :param training_dataset_arn: ARN of the training dataset.
    :param training_data: The data as for ``CleanRoomsMLCreateTrainingDatasetOperator``, to check it before there is a training dataset.
    :param role_arn: ARN of the role that reads the table; required with ``training_data``.
    :param training_data_start_time: Start of the training window.
    :param training_data_end_time: End of the training window.
    :param statistics: How to count the data, ``athena`` or ``files``; None to read no data.
    :param min_interactions: Least number of interactions; lower than the default only makes sense for an emulator.
    :param min_users: Least number of users with at least two interactions; likewise.
    :param warn_only: Names of rules whose findings are warnings.
    :param athena_workgroup: Athena workgroup.
    :param athena_output_location: S3 URI for the result of the query; not needed if the workgroup has one.
    :param athena_catalog: Athena data catalog with the table.
    :return: The report: ``errors``, ``warnings``, ``findings``, ``statistics`` and ``files``.
    """

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
        self._query_id = ""

    def execute(self, context: Context) -> dict[str, Any]:
        """Check table, files, role and, on request, the data."""
        self.check_connection()
        arguments = self._load_arguments()
        with self._translate_errors():
            return self._check(context, arguments)

    def on_kill(self) -> None:
        """Stop the query, which would go on costing money."""
        if self._query_id:
            self._athena.stop_query(self._query_id)

    def _check(self, context: Context, arguments: Mapping[str, Any]) -> dict[str, Any]:
        from airflow_cleanroomsml._training_data.limits import DataRules
        from airflow_cleanroomsml._training_data.table_check import check_role, check_table
        from airflow_cleanroomsml._training_data.window import Window

        findings, data, role = Findings(), arguments["training_data"][0], self._build_role(arguments)
        rules = DataRules(min_interactions=arguments["min_interactions"], min_users=arguments["min_users"])
        window = Window(arguments.get("training_data_start_time"), arguments.get("training_data_end_time"))
        glue, s3 = self._client("glue"), self._client("s3")
        checked = check_table(glue, s3, data, window, rules, findings)
        source = data["inputConfig"]["dataSource"]["glueDataSource"]
        files = checked.files if checked and checked.files else ()
        check_role(glue, self._client("iam"), role, source, files, findings)
        counted = None
        if checked and "statistics" in arguments:
            count = self._count_by_athena if arguments["statistics"] == "athena" else self._count_in_files
            counted = count(checked, source, window, rules, findings)
        if checked and not (counted and arguments["statistics"] == "files"):
            from airflow_cleanroomsml._training_data.table_files import check_declared_compression

            check_declared_compression(checked.table, files, findings)
        return self._finish(
            context,
            arguments,
            findings,
            f"Training data in Glue table {source['databaseName']}.{source['tableName']}",
            {"statistics": counted.describe() if counted else None, "files": sum(len(each.files) for each in files)},
        )

    def _load_arguments(self) -> dict[str, Any]:
        """
        Check the arguments, and read the training dataset.

        :raises InvalidRequestError: Arguments are not valid.
        """
        from airflow_cleanroomsml._requests.arguments import TIME, choice, integer

        shapes = {
            "training_data_start_time": TIME,
            "training_data_end_time": TIME,
            "statistics": choice("athena", "files"),
            "min_interactions": integer(1),
            "min_users": integer(1),
        }
        arguments = self._check_fields(shapes, "min_interactions", "min_users")
        given = {name for name in self.members if name in arguments}
        if given not in ({"training_dataset_arn"}, {"training_data", "role_arn"}):
            raise InvalidRequestError(
                "training_dataset_arn, training_data, role_arn: set either the ARN of a training dataset, or training_data with "
                f"role_arn; set are: {', '.join(sorted(given)) or 'none'}. Nothing was sent."
            )
        if arguments.get("statistics") == "files":
            _require_pyarrow()
        if "training_data" in given:
            return arguments
        found = self.hook.call("get_training_dataset", {"training_dataset_arn": arguments["training_dataset_arn"]})
        return {**arguments, "training_data": found["trainingData"], "role_arn": found["roleArn"]}

    def _build_role(self, arguments: Mapping[str, Any]) -> JobRole:
        from airflow_cleanroomsml._training_data.role import JobRole

        role = arguments["role_arn"]
        _, partition, _, _, account, _ = role.split(":", 5)
        region = self._client("glue").meta.region_name
        # Before there is a dataset, its identifier is unknown; policies have a wildcard in its place (user guide, ml-roles).
        new = f"arn:{partition}:cleanrooms-ml:{region}:{account}:training-dataset/new"
        return JobRole(role, arguments.get("training_dataset_arn", new))

    def _count_in_files(
        self, checked: CheckedTable, source: Mapping[str, str], window: Window, rules: DataRules, findings: Findings
    ) -> Statistics | None:
        """Read the files, and count with pyarrow."""
        from airflow_cleanroomsml._training_data import interactions, training_files
        from airflow_cleanroomsml._training_data.rules import InvalidDataError
        from airflow_cleanroomsml._training_data.statistics import evaluate

        size = sum(file.size for each in checked.files or () for file in each.files)
        if checked.files is None or size > _MOST_BYTES:
            texts = {"size": f"{size / _GIBIBYTE:,.1f} GiB", "limit": f"{_MOST_BYTES / _GIBIBYTE:.0f} GiB"}
            if checked.files is not None:
                findings.add(Rule.TOO_LARGE_TO_READ.build("statistics", **texts))
            return None
        try:
            sources = training_files.build_sources(checked.table, checked.files)
            table = training_files.read_all(self._client("s3"), sources, checked.roles.types)
        except InvalidDataError as error:
            findings.add(*error.findings)
            return None
        rows = interactions.normalise(table, checked.roles)
        counted, _ = interactions.count(rows, checked.roles, window, rules, duplicates=True)
        evaluate(counted, checked.roles, window, rules, findings)
        return counted

    def _count_by_athena(
        self, checked: CheckedTable, source: Mapping[str, str], window: Window, rules: DataRules, findings: Findings
    ) -> Statistics | None:
        """Run the query that counts."""
        from airflow_cleanroomsml._training_data.athena import build_query, parse_result
        from airflow_cleanroomsml._training_data.statistics import evaluate

        query = build_query(source["databaseName"], source["tableName"], checked.roles, window, rules)
        location = {"OutputLocation": self.athena_output_location} if self.athena_output_location else {}
        self._query_id = self._athena.run_query(
            query,
            {"Database": source["databaseName"], "Catalog": str(self.athena_catalog)},
            location,
            workgroup=str(self.athena_workgroup),
        )
        state = self._athena.poll_query_status(self._query_id, sleep_time=_ATHENA_SECONDS)
        query_id, self._query_id = self._query_id, ""
        if state != "SUCCEEDED":
            # The rest of the reason may quote values of the data.
            reason = (self._athena.get_state_change_reason(query_id) or "").partition(":")[0]
            shown = reason if re.fullmatch(r"[A-Z_]+", reason) else "its reason is withheld"
            findings.add(Rule.QUERY_FAILED.build("data", reason=f"{state}, {shown}", query=query_id))
            return None
        header, values = self._athena.get_query_results(query_id)["ResultSet"]["Rows"]
        names = [cell["VarCharValue"] for cell in header["Data"]]
        counted = parse_result(dict(zip(names, (cell.get("VarCharValue") for cell in values["Data"]), strict=True)))
        evaluate(counted, checked.roles, window, rules, findings)
        return counted

    @cached
    def _athena(self) -> Any:
        from airflow.providers.amazon.aws.hooks.athena import AthenaHook

        from airflow_cleanroomsml._connection.client_options import make_config

        connection = dict(self.connection)
        return AthenaHook(config=make_config(connection.pop("botocore_config")), log_query=False, **connection)


class CleanRoomsMLCheckSeedAudienceOperator(_DataCheckOperator):
    """
    Check a seed before an audience is generated from it.

    A seed in S3 is read: JSON lines with a ``user_id`` each, 25 to 500,000 unique ones, in this region. The result of a query that was
    written to S3 is CSV or Parquet, and is refused as it is when the audience is generated. Of a SQL seed only the role is checked, because
    its users are not known before the query runs. The task also checks that the service may assume the role of the seed, and that the role
    may read the files.

    All findings are in the log and in the report: rule, severity, field, problem, advice and source. Errors fail the task without a
    retry; warnings do not. Findings contain no user ids.

    The report of a task that fails is in XCom under the key ``report``.

    :param seed_audience: The seed, as for ``CleanRoomsMLStartAudienceGenerationJobOperator``.
    :param min_matching_seed_size: ``minMatchingSeedSize`` of the configured audience model, 500 by default in the API: as many users of the
        seed have to be among those of the training data. The task only checks that the seed has as many.
    :param min_seed_size: Least number of unique user ids; lower than the default only makes sense for an emulator.
    :param warn_only: Names of rules whose findings are warnings.
    :return: The report: ``errors``, ``warnings``, ``findings`` and ``users``.
    """

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

    def execute(self, context: Context) -> dict[str, Any]:
        """Check the seed and its role."""
        self.check_connection()
        from airflow_cleanroomsml._requests.arguments import integer

        shapes = {"min_matching_seed_size": integer(1), "min_seed_size": integer(1)}
        arguments = self._check_fields(shapes, "seed_audience", "min_seed_size")
        with self._translate_errors():
            return self._check(context, arguments)

    def _check(self, context: Context, arguments: Mapping[str, Any]) -> dict[str, Any]:
        from airflow_cleanroomsml._training_data.limits import DataRules
        from airflow_cleanroomsml._training_data.rules import InvalidDataError
        from airflow_cleanroomsml._training_data.seed import read_seed

        findings, seed, users = Findings(), arguments["seed_audience"], None
        uri = seed.get("dataSource", {}).get("s3Uri", "")
        if uri:
            try:
                found = read_seed(self._client("s3"), uri, DataRules(min_seed=arguments["min_seed_size"]), findings)
            except InvalidDataError as error:
                findings.add(*error.findings)
            else:
                users, least = len(found.ids), arguments.get("min_matching_seed_size", 0)
                if users < least:
                    findings.add(Rule.SEED_CANNOT_MATCH.build("seedAudience", count=users, limit=least))
                if repeated := found.lines - users:
                    findings.add(Rule.SEED_REPEATS.build("s3Uri", count=repeated, lines=found.lines))
        else:
            values = {"subject": "The users of a SQL seed", "reason": "they are not known before the query runs"}
            findings.add(Rule.NOT_CHECKED.build("sqlParameters", **values, remedy=_SQL_REMEDY))
        self._check_role(seed["roleArn"], uri, findings)
        subject = f"Seed {uri}" if uri else "SQL seed"
        return self._finish(context, arguments, findings, subject, {"users": users})

    def _check_role(self, arn: str, uri: str, findings: Findings) -> None:
        from airflow_cleanroomsml._training_data.role import JobRole, check_role_of_seed

        client = self._client("iam")
        _, partition, _, _, account, _ = arn.split(":", 5)
        region = self._client("s3").meta.region_name
        source = f"arn:{partition}:cleanrooms-ml:{region}:{account}:audience-generation-job/new"
        check_role_of_seed(client, JobRole(arn, source), uri, findings)


def _require_pyarrow() -> None:
    """
    Check that files can be read.

    :raises ConfigurationError: The extra ``files`` is not installed.
    """
    if find_spec("pyarrow") is None:
        raise ConfigurationError(
            'statistics: "files" needs pyarrow, which is not installed; install airflow-provider-cleanroomsml[files], or use "athena"'
        )
