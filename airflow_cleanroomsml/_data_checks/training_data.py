"""The check of training data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._data_checks.athena_query import AthenaQuery
from airflow_cleanroomsml._training_data.athena import build_query, parse_result
from airflow_cleanroomsml._training_data.glue_table import format_table_name
from airflow_cleanroomsml._training_data.limits import DataRules
from airflow_cleanroomsml._training_data.role import JobRole
from airflow_cleanroomsml._training_data.rules import (
    S3_DENIALS,
    Finding,
    Findings,
    InvalidDataError,
    Rule,
    withhold_ids,
)
from airflow_cleanroomsml._training_data.statistics import Statistics, evaluate
from airflow_cleanroomsml._training_data.table_check import CheckedTable, check_role, check_table, find_obstacles
from airflow_cleanroomsml._training_data.table_files import check_declared_compression
from airflow_cleanroomsml._training_data.window import Window

if TYPE_CHECKING:
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

_GIBIBYTE = 1024**3
#: Bytes of files that a worker reads at most; in memory they take a multiple of it.
_MOST_BYTES = 2 * _GIBIBYTE
#: Rules whose findings already say that the data was not counted.
_SAY_UNCOUNTED = frozenset((Rule.TOO_LARGE_TO_READ, Rule.QUERY_FAILED, Rule.QUERY_INTERRUPTED, Rule.NOT_CHECKED))
#: The data catalog of Athena that is the Glue catalog of the caller's account.
_OWN_CATALOG = "AwsDataCatalog"
_CATALOG_REMEDY = 'register that catalog in Athena and set athena_catalog to its name, or count with statistics="files"'
_NUMBERS = "The numbers of interactions and users"
_NO_FILES = "the caller is not allowed to list or read the files"


class TrainingDataCheck:
    """
    The check of training data.

    :param hook: Hook with the clients.
    :param connection: Connection arguments, for the amazon provider's hook of Athena.
    :param arguments: The checked arguments of the operator, with ``training_data`` and ``role_arn``.
    """

    def __init__(self, hook: CleanRoomsMLHook, connection: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        self._hook = hook
        self._arguments = arguments
        self._config = arguments["training_data"][0]["inputConfig"]
        self._source = self._config["dataSource"]["glueDataSource"]
        self._rules = DataRules(min_interactions=arguments["min_interactions"], min_users=arguments["min_users"])
        self._window = Window(arguments.get("training_data_start_time"), arguments.get("training_data_end_time"))
        self._query = AthenaQuery(
            connection,
            catalog=arguments["athena_catalog"],
            workgroup=arguments["athena_workgroup"],
            output_location=arguments.get("athena_output_location"),
        )

    def run(self, findings: Findings) -> tuple[str, dict[str, Any]]:
        """Check table, files, role and, on request, the data."""
        found = Findings()
        try:
            return self._run(found)
        finally:
            # Locations in S3 contain the values of partition columns.
            findings.add(*withhold_ids(found, self._config["schema"]))

    def _run(self, findings: Findings) -> tuple[str, dict[str, Any]]:
        glue, s3, how = self._get_client("glue"), self._get_client("s3"), self._arguments.get("statistics")
        data = self._arguments["training_data"][0]
        checked = check_table(glue, s3, data, self._window, self._rules, findings)
        obstacles = find_obstacles(findings)
        files = checked.files if checked and checked.files else ()
        check_role(glue, self._get_client("iam"), self._build_role(), self._source, files, findings)
        counted = self._count(checked, how, obstacles, findings) if how else None
        if checked and not (counted and how == "files"):
            check_declared_compression(checked.table, files, findings)
        subject = f"Training data in Glue table {format_table_name(self._source)}"
        numbers = {
            "statistics": counted.describe() if counted else None,
            "files": sum(len(each.files) for each in files),
        }
        return subject, numbers

    def stop_query(self) -> None:
        """Stop the query, if it runs."""
        self._query.stop()

    def _get_client(self, service: str) -> Any:
        return self._hook.of(service).conn

    def _build_role(self) -> JobRole:
        arn, dataset = self._arguments["role_arn"], self._arguments.get("training_dataset_arn")
        if dataset:
            return JobRole(arn, dataset)
        return JobRole.build_for_new(arn, "training-dataset", self._get_client("glue").meta.region_name)

    def _count(
        self, checked: CheckedTable | None, how: str, obstacles: Collection[Rule], findings: Findings
    ) -> Statistics | None:
        """
        Count the data and apply the rules to the numbers, or report why they were not counted.

        :param how: ``athena`` or ``files``.
        :param obstacles: Rules that the table, its schema or its files break, so that the data cannot be read.
        :param findings: Collects findings.
        """
        if checked and not obstacles and (how == "athena" or checked.files is not None):
            try:
                counted = self._count_by_athena(checked) if how == "athena" else self._count_in_files(checked)
            except InvalidDataError as error:
                findings.add(*error.findings)
                obstacles = [finding.rule for finding in error.findings]
            else:
                evaluate(counted, checked.roles, self._window, self._rules, findings)
                return counted
        if not _SAY_UNCOUNTED.issuperset(obstacles) or not obstacles:
            findings.add(_build_not_counted(obstacles))
        return None

    def _count_in_files(self, checked: CheckedTable) -> Statistics:
        """
        Read the files, and count with pyarrow.

        :raises InvalidDataError: They are malformed, or too large to be read.
        """
        from airflow_cleanroomsml._training_data import interactions, training_files

        files = checked.files or ()
        size = sum(file.size for each in files for file in each.files)
        if size > _MOST_BYTES:
            texts = {"size": f"{size / _GIBIBYTE:,.1f} GiB", "limit": f"{_MOST_BYTES / _GIBIBYTE:.0f} GiB"}
            raise InvalidDataError(Rule.TOO_LARGE_TO_READ.build("statistics", **texts))
        sources = training_files.build_sources(checked.table, files)
        table = training_files.read_all(self._get_client("s3"), sources, checked.roles.types)
        rows = interactions.normalise(table, checked.roles)
        return interactions.count(rows, checked.roles, self._window, self._rules, duplicates=True)[0]

    def _count_by_athena(self, checked: CheckedTable) -> Statistics:
        """
        Run the query that counts.

        :raises InvalidDataError: It failed, or would read a table of another catalog.
        """
        self._require_catalog()
        database = self._source["databaseName"]
        text = build_query(database, self._source["tableName"], checked.roles, self._window, self._rules)
        return parse_result(self._query.run(text, database))

    def _require_catalog(self) -> None:
        """
        Require an Athena data catalog for a table in the Glue catalog of another account.

        The dataset names that catalog by its account, Athena by the name under which it is registered (Athena user guide,
        security-iam-cross-account-glue-catalog-access). Athena's own data catalog may have a table of the same name.

        :raises InvalidDataError: The query would read a table of the caller's catalog.
        """
        own, owner = self._build_role().account, self._source.get("catalogId")
        catalog = self._arguments["athena_catalog"]
        if owner in (None, own) or catalog.lower() != _OWN_CATALOG.lower():
            return
        reason = f"Athena's data catalog {catalog} is not the Glue catalog of account {owner}, which has the table"
        values = {"subject": _NUMBERS, "reason": reason, "remedy": _CATALOG_REMEDY}
        raise InvalidDataError(Rule.NOT_CHECKED.build("athena_catalog", **values))


def _build_not_counted(obstacles: Collection[Rule]) -> Finding:
    """
    Build the finding that the data was not counted.

    A rule in ``warn_only`` does not fail the task, but the data cannot be read all the same.
    """
    names = sorted({rule.name for rule in obstacles if rule not in S3_DENIALS})
    reason = f"{' and '.join(names)} prevent{'' if len(names) > 1 else 's'} it" if names else _NO_FILES
    remedy = "see the other findings, or count the data yourself"
    return Rule.NOT_CHECKED.build("statistics", subject=_NUMBERS, reason=reason, remedy=remedy)
