"""The base of the checks of training data and seeds: how they report what they find."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_cleanroomsml._requests.sensitive import reveal
from airflow_cleanroomsml._templating import TEXT
from airflow_cleanroomsml._training_data.rules import S3_DENIALS, Finding, Findings, Rule, Severity, lower_severity
from airflow_cleanroomsml._xcom import try_to_push_results
from airflow_cleanroomsml.exceptions import (
    CleanRoomsMLError,
    DataCheckFailedError,
    InvalidRequestError,
    join_lines,
    service_error,
)
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import Context

#: Failures that say nothing about the data, and may not happen the next time.
_INTERRUPTIONS = frozenset((Rule.GLUE_ERROR, Rule.S3_ERROR, Rule.QUERY_INTERRUPTED))
_S3_REMEDY = "grant s3:ListBucket, and s3:GetObject where files are read, to the role or user of the connection"


class DataCheckOperator(CleanRoomsMLOperator):
    """The base of the checks: they collect findings, report them, and fail if one of them is an error."""

    ui_color = "#fff3d6"
    #: boto3's method names of the requests that have the members, by argument.
    members: ClassVar[Mapping[str, str]] = {}

    warn_only: Any
    #: Optional arguments that the Dag sets, without whose values less would be checked.
    _set_arguments: tuple[str, ...] = ()

    def report(self, context: Context, check: Callable[[Findings], tuple[str, dict[str, Any]]]) -> dict[str, Any]:
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
            try_to_push_results(self, context, {"report": report})
            raise DataCheckFailedError(
                join_lines(f"{summary} Correct the errors before you start a job.", *texts), errors
            )
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
        return check_arguments(all_shapes, given, required=required, set_in_dag=self._set_arguments)

    def _run(
        self, check: Callable[[Findings], tuple[str, dict[str, Any]]], findings: Findings
    ) -> tuple[str, dict[str, Any]]:
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
            failure = self.hook.explain_failed_read("A request of the data check", error)
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
                f"warn_only: {', '.join(unknown)}: unknown rule{hint}; allowed: {format_names(known)}. Nothing was sent."
            )
        return list(names or ())


def _explain_denials(findings: Findings) -> list[Finding]:
    """
    Return the findings; what the caller may not see says nothing about the role of the job.

    :raises CleanRoomsMLError: Glue, S3 or Athena failed, and may not fail the next time.
    """
    explained = []
    for finding in findings:
        if finding.rule in _INTERRUPTIONS:
            raise CleanRoomsMLError(f"The check could not be completed; a retry may succeed. {finding}")
        if finding.rule is Rule.GLUE_ACCESS_DENIED:
            explained.append(Rule.TABLE_NOT_READABLE.build(finding.field, problem=finding.problem))
        elif finding.rule in S3_DENIALS:
            values = {"subject": "The files", "reason": finding.problem, "remedy": _S3_REMEDY}
            explained.append(Rule.NOT_CHECKED.build(finding.field, **values))
        else:
            explained.append(finding)
    return explained


def _count(number: int, nouns: str) -> str:
    """Return a number with its noun, which is given in the plural."""
    return f"{number} {nouns if number != 1 else nouns[:-1]}"
