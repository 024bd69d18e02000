"""What the checks of training data and seeds do, and how they report it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._compat import cached
from airflow_cleanroomsml._requests.sensitive import reveal
from airflow_cleanroomsml._templating import TEXT
from airflow_cleanroomsml._training_data.rules import Finding, Findings, Rule, Severity, lower_severity, withhold_ids
from airflow_cleanroomsml._xcom import push_results
from airflow_cleanroomsml.exceptions import (
    CleanRoomsMLError,
    ConfigurationError,
    DataCheckFailedError,
    InvalidRequestError,
    join_lines,
    service_error,
)
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml._training_data.role import JobRole
    from airflow_cleanroomsml._training_data.statistics import Statistics
    from airflow_cleanroomsml._training_data.table_check import CheckedTable
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

#: Bytes of files that a worker reads at most; in memory they take a multiple of it.
_MOST_BYTES = 2 * 1024**3
#: Bytes of a seed that a worker reads at most, some 500 for each of the 500,000 user ids that are allowed. AWS documents no limit.
_MOST_SEED_BYTES = 256 * 1024**2
_GIBIBYTE = 1024**3
#: Seconds between two polls of a query.
_ATHENA_SECONDS = 5
_S3_REMEDY = "allow s3:ListBucket, and s3:GetObject where files are read, to the role or user of the connection"
#: What says itself that the data was not counted.
_SAY_UNCOUNTED = frozenset((Rule.TOO_LARGE_TO_READ, Rule.QUERY_FAILED, Rule.NOT_CHECKED))
#: What the caller may not do; the role of the job may be allowed to.
_S3_DENIALS = frozenset((Rule.S3_ACCESS_DENIED, Rule.BUCKET_POLICY_DENIES))
#: The data catalog of Athena that is the Glue catalog of the caller's account.
_OWN_CATALOG = "AwsDataCatalog"
_CATALOG_REMEDY = 'register that catalog in Athena and set athena_catalog to its name, or count with statistics="files"'
_NUMBERS = "The numbers of interactions and users"
_NO_FILES = "the caller may not list or read the files"
_SQL_REMEDY = "run the query yourself and count its users"
#: States of a query that has not ended (Athena API reference, QueryExecutionStatus).
_RUNNING = ("QUEUED", "RUNNING")
#: What a check adds to the report.
Numbers = dict[str, Any]


class DataCheckOperator(CleanRoomsMLOperator):
    """The base of the checks: they collect findings, report them, and fail if one of them is an error."""

    ui_color = "#fff3d6"
    #: boto3's method names of the requests that have the members, by argument.
    members: ClassVar[Mapping[str, str]] = {}

    warn_only: Any

    def report(self, context: Context, check: Callable[[Findings], tuple[str, Numbers]]) -> dict[str, Any]:
        """
        Run a check; log and return its report.

        :param check: Collects findings; returns what it checked, in words, and further values of the report.
        :raises DataCheckFailedError: One of the findings is an error.
        """
        findings, lowered = Findings(), self._parse_warn_only()
        subject, numbers = self._run(check, findings)
        found = lower_severity(_explain_denials(findings), lowered)
        found.sort(key=lambda finding: finding.severity.value)
        errors = [finding.describe() for finding in found if finding.severity is Severity.ERROR]
        counts = {"errors": len(errors), "warnings": len(found) - len(errors)}
        report = {**counts, "findings": [finding.describe() for finding in found], **numbers}
        texts = [f"{each.severity.name} {each.rule.name} ({each.field}): {each}" for each in found]
        summary = f"{subject}: {', '.join(_count(number, name) for name, number in counts.items())}."
        if errors:
            # A task that fails has no return value, and the report is what somebody wants to see then.
            push_results(self, context, {"report": report})
            raise DataCheckFailedError(join_lines(f"{summary} A job would fail; none was started.", *texts), errors)
        (self.log.warning if found else self.log.info)("%s", join_lines(summary, *texts))
        return report

    def check_fields(self, shapes: Mapping[str, Any], *required: str) -> dict[str, Any]:
        """
        Check the rendered arguments.

        :param shapes: Shapes of the arguments that are members of no request.
        :raises InvalidRequestError: They are not valid.
        """
        from airflow_cleanroomsml._requests.arguments import check_arguments

        # First, so that an invalid value is reported before anything is sent.
        self._parse_warn_only()
        all_shapes = {**self._find_argument_shapes(), **shapes}
        given = {name: reveal(getattr(self, name)) for name in all_shapes}
        return check_arguments(all_shapes, given, required=required)

    def _run(self, check: Callable[[Findings], tuple[str, Numbers]], findings: Findings) -> tuple[str, Numbers]:
        """
        Run a check.

        :raises CleanRoomsMLError: Glue, S3, IAM or Athena failed, and may not fail the next time.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return check(findings)
        except ClientError as error:
            failure: CleanRoomsMLError = service_error(error.operation_name, error.response)
        except BotoCoreError as error:
            failure = self.hook.explain_failed_read("The request of the check", error)
        # Outside of the handlers, so that it has no context: boto3's own text may quote credentials.
        raise failure

    def _find_argument_shapes(self) -> dict[str, Any]:
        from airflow_cleanroomsml._requests.arguments import member

        return {name: member(operation, name) for name, operation in self.members.items()}

    def _find_field_shapes(self) -> dict[str, Any]:
        names = [name for name in self.template_fields if name not in (*self.connection_fields, "warn_only")]
        return {**dict.fromkeys(names, TEXT), **super()._find_field_shapes()}

    def _parse_warn_only(self) -> list[str]:
        from airflow_cleanroomsml._requests.coercion import parse_container
        from airflow_cleanroomsml._requests.violations import format_names, suggest_name

        names = parse_container(self.warn_only) if isinstance(self.warn_only, str) else self.warn_only
        if not isinstance(names, (list, tuple, type(None))):
            raise InvalidRequestError(
                f"warn_only: {names!r} is not valid; must be a list of names of rules. Nothing was sent."
            )
        if unknown := [str(name) for name in names or () if not isinstance(name, str) or name not in Rule.__members__]:
            known = list(Rule.__members__)
            hint = suggest_name(unknown[0], known)
            raise InvalidRequestError(
                f"warn_only: {', '.join(unknown)}: no such rule{hint}; allowed: {format_names(known)}. Nothing was sent."
            )
        return list(names or ())


def load_training_arguments(operator: DataCheckOperator) -> dict[str, Any]:
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


def load_seed_arguments(operator: DataCheckOperator) -> dict[str, Any]:
    """
    Check the arguments of the check of a seed.

    :raises InvalidRequestError: Arguments are not valid.
    """
    from airflow_cleanroomsml._requests.arguments import integer

    shapes = {"min_matching_seed_size": integer(1), "min_seed_size": integer(1)}
    return operator.check_fields(shapes, "seed_audience", "min_seed_size")


class TrainingDataCheck:
    """
    The check of training data.

    :param hook: Hook with the clients.
    :param connection: Connection arguments, for the amazon provider's hook of Athena.
    :param arguments: The checked arguments of the operator, with ``training_data`` and ``role_arn``.
    """

    def __init__(self, hook: CleanRoomsMLHook, connection: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        from airflow_cleanroomsml._training_data.limits import DataRules
        from airflow_cleanroomsml._training_data.window import Window

        self._hook = hook
        self._connection = dict(connection)
        self._arguments = arguments
        self._config = arguments["training_data"][0]["inputConfig"]
        self._source = self._config["dataSource"]["glueDataSource"]
        self._rules = DataRules(min_interactions=arguments["min_interactions"], min_users=arguments["min_users"])
        self._window = Window(arguments.get("training_data_start_time"), arguments.get("training_data_end_time"))
        self._query_id = ""

    def run(self, findings: Findings) -> tuple[str, Numbers]:
        """Check table, files, role and, on request, the data."""
        found = Findings()
        try:
            return self._run(found)
        finally:
            # Locations in S3 contain the values of partition columns.
            findings.add(*withhold_ids(found, self._config["schema"]))

    def _run(self, findings: Findings) -> tuple[str, Numbers]:
        from airflow_cleanroomsml._training_data.glue_table import format_table_name
        from airflow_cleanroomsml._training_data.table_check import check_role, check_table, find_obstacles
        from airflow_cleanroomsml._training_data.table_files import check_declared_compression

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
        if self._query_id:
            self._athena.stop_query(self._query_id)

    def _get_client(self, service: str) -> Any:
        return self._hook.of(service).conn

    def _build_role(self) -> JobRole:
        from airflow_cleanroomsml._training_data.role import JobRole

        arn, dataset = self._arguments["role_arn"], self._arguments.get("training_dataset_arn")
        if dataset:
            return JobRole(arn, dataset)
        return _build_role(arn, "training-dataset", self._get_client("glue").meta.region_name)

    def _count(
        self, checked: CheckedTable | None, how: str, obstacles: Collection[Rule], findings: Findings
    ) -> Statistics | None:
        """
        Count the data and apply the rules to the numbers, or report why they were not counted.

        :param how: ``athena`` or ``files``.
        :param obstacles: Rules that the table, its schema or its files break, so that the data cannot be read.
        :param findings: Collects findings.
        """
        from airflow_cleanroomsml._training_data.rules import InvalidDataError
        from airflow_cleanroomsml._training_data.statistics import evaluate

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
        from airflow_cleanroomsml._training_data.rules import InvalidDataError

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
        from airflow_cleanroomsml._training_data.athena import build_query, parse_result
        from airflow_cleanroomsml._training_data.rules import InvalidDataError

        self._require_catalog()
        database, arguments, athena = self._source["databaseName"], self._arguments, self._athena
        location = arguments.get("athena_output_location")
        self._query_id = athena.run_query(
            build_query(database, self._source["tableName"], checked.roles, self._window, self._rules),
            {"Database": database, "Catalog": arguments["athena_catalog"]},
            {"OutputLocation": location} if location else {},
            workgroup=arguments["athena_workgroup"],
        )
        state = self._wait_for_query()
        if state != "SUCCEEDED":
            # Only the code of the reason: the rest may quote values of the data.
            code = (athena.get_state_change_reason(self._query_id) or "").partition(":")[0]
            reason = f"{state}, {code}" if re.fullmatch(r"[A-Z_]+", code) else state
            raise InvalidDataError(Rule.QUERY_FAILED.build("data", reason=reason, query=self._query_id))
        # Athena's first row is the header; the query aggregates, so there is one more.
        header, values = athena.get_query_results(self._query_id)["ResultSet"]["Rows"]
        # From here on a kill must not stop the query: it has ended.
        self._query_id = ""
        names = [cell["VarCharValue"] for cell in header["Data"]]
        return parse_result(dict(zip(names, (cell.get("VarCharValue") for cell in values["Data"]), strict=True)))

    def _require_catalog(self) -> None:
        """
        Require an Athena data catalog for a table in the Glue catalog of another account.

        The dataset names that catalog by its account, Athena by the name under which it is registered (Athena user guide,
        security-iam-cross-account-glue-catalog-access). Athena's own data catalog may have a table of the same name.

        :raises InvalidDataError: The query would read a table of the caller's catalog.
        """
        from airflow_cleanroomsml._training_data.rules import InvalidDataError

        own, owner = self._build_role().account, self._source.get("catalogId")
        catalog = self._arguments["athena_catalog"]
        if owner in (None, own) or catalog.lower() != _OWN_CATALOG.lower():
            return
        reason = f"Athena's data catalog {catalog} is not the Glue catalog of account {owner}, which has the table"
        values = {"subject": _NUMBERS, "reason": reason, "remedy": _CATALOG_REMEDY}
        raise InvalidDataError(Rule.NOT_CHECKED.build("athena_catalog", **values))

    def _wait_for_query(self) -> str:
        """Wait until the query has ended, however long Athena lets it run; return its state."""
        # Not by the hook's poll_query_status(), which returns RUNNING after 120 polls, and after an error.
        try:
            while (state := str(self._athena.check_query_status(self._query_id))) in _RUNNING:
                _clock.sleep(_ATHENA_SECONDS)
        except Exception:
            with suppress(Exception):
                self.stop_query()
            raise
        return state

    @cached
    def _athena(self) -> Any:
        from airflow.providers.amazon.aws.hooks.athena import AthenaHook

        from airflow_cleanroomsml._connection.client_options import make_config

        connection = {**self._connection}
        return AthenaHook(config=make_config(connection.pop("botocore_config")), log_query=False, **connection)


def _build_not_counted(obstacles: Collection[Rule]) -> Finding:
    """
    Build the finding that the data was not counted.

    A rule in ``warn_only`` does not fail the task, but the data cannot be read all the same.
    """
    names = sorted({rule.name for rule in obstacles if rule not in _S3_DENIALS})
    reason = f"{' and '.join(names)} prevent{'' if len(names) > 1 else 's'} it" if names else _NO_FILES
    remedy = "see the other findings, or count the data yourself"
    return Rule.NOT_CHECKED.build("statistics", subject=_NUMBERS, reason=reason, remedy=remedy)


def check_seed(hook: CleanRoomsMLHook, arguments: Mapping[str, Any], findings: Findings) -> tuple[str, Numbers]:
    """
    Check a seed and its role.

    :param hook: Hook with the clients.
    :param arguments: The checked arguments of the operator.
    :param findings: Collects findings.
    :return: What was checked, in words, and the number of users.
    """
    from airflow_cleanroomsml._training_data.role import check_role_of_seed

    seed = arguments["seed_audience"]
    s3, uri = hook.of("s3").conn, seed.get("dataSource", {}).get("s3Uri", "")
    users = _count_seed(s3, uri, arguments, findings) if uri else None
    if not uri:
        values = {"subject": "The users of a SQL seed", "reason": "they are not known before the query runs"}
        findings.add(Rule.NOT_CHECKED.build("sqlParameters", **values, remedy=_SQL_REMEDY))
    role = _build_role(seed["roleArn"], "audience-generation-job", s3.meta.region_name)
    check_role_of_seed(hook.of("iam").conn, role, uri, findings)
    return f"Seed {uri}" if uri else "SQL seed", {"users": users}


def _count_seed(s3: Any, uri: str, arguments: Mapping[str, Any], findings: Findings) -> int | None:
    from airflow_cleanroomsml._training_data.limits import DataRules
    from airflow_cleanroomsml._training_data.rules import InvalidDataError
    from airflow_cleanroomsml._training_data.seed import read_seed

    try:
        rules = DataRules(min_seed=arguments["min_seed_size"])
        seed = read_seed(s3, uri, rules, findings, max_bytes=_MOST_SEED_BYTES)
    except InvalidDataError as error:
        findings.add(*error.findings)
        return None
    users, least = len(seed.ids), arguments.get("min_matching_seed_size", 0)
    if users < least:
        findings.add(Rule.SEED_CANNOT_MATCH.build("seedAudience", count=users, limit=least))
    if repeated := seed.lines - users:
        findings.add(Rule.SEED_REPEATS.build("s3Uri", count=repeated, lines=seed.lines))
    return users


def _build_role(arn: str, kind: str, region: str) -> JobRole:
    """
    Build the role of a job for a resource that does not exist yet.

    :param kind: Type of the resource in its ARN.
    """
    from airflow_cleanroomsml._training_data.role import JobRole

    _, partition, _, _, account, _ = arn.split(":", 5)
    # Trust policies have a wildcard in the place of the identifier (user guide, ml-roles).
    return JobRole(arn, f"arn:{partition}:cleanrooms-ml:{region}:{account}:{kind}/new")


def _explain_denials(findings: Findings) -> list[Finding]:
    """
    Return the findings; what the caller may not see says nothing about the role of the job.

    :raises CleanRoomsMLError: Glue or S3 failed, and may not fail the next time.
    """
    explained = []
    for finding in findings:
        if finding.rule in (Rule.GLUE_ERROR, Rule.S3_ERROR):
            raise CleanRoomsMLError(f"The check could not be completed; a retry may succeed. {finding}")
        if finding.rule is Rule.GLUE_ACCESS_DENIED:
            explained.append(Rule.TABLE_NOT_READABLE.build(finding.field, problem=finding.problem))
        elif finding.rule in _S3_DENIALS:
            values = {"subject": "The files", "reason": finding.problem, "remedy": _S3_REMEDY}
            explained.append(Rule.NOT_CHECKED.build(finding.field, **values))
        else:
            explained.append(finding)
    return explained


def _count(number: int, nouns: str) -> str:
    """Return a number with its noun, which is given in the plural."""
    return f"{number} {nouns if number != 1 else nouns[:-1]}"
