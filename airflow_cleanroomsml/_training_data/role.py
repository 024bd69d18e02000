"""Checks the role of a job: whether the service may assume it, and whether it may read the data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_cleanroomsml._training_data.clients import IamClient
from airflow_cleanroomsml._training_data.policy_elements import (
    evaluate_conditions,
    list_statements,
    list_values,
    matches_element,
    matches_wildcards,
)
from airflow_cleanroomsml._training_data.rules import Findings, Rule
from airflow_cleanroomsml._training_data.storage import Location

if TYPE_CHECKING:
    from typing_extensions import Self

#: The service that assumes the role (user guide, ml-roles).
SERVICE = "cleanrooms-ml.amazonaws.com"
#: Error codes of a caller without permission (IAM API reference, common errors).
DENIED = ("AccessDenied", "AccessDeniedException")
#: What the role does with a bucket (user guide, ml-roles).
BUCKET_ACTIONS = ("s3:ListBucket", "s3:GetBucketLocation")
#: Error codes of a simulation that cannot be made (IAM API reference, SimulatePrincipalPolicy).
_REJECTIONS = ("InvalidInput", "NoSuchEntity", "PolicyEvaluation")
_NOT_FOUND = ("NoSuchEntity", "NoSuchEntityException")


@dataclass(frozen=True)
class JobRole:
    """
    The role of a job.

    :param arn: Its ARN.
    :param source_arn: ARN of the resource on whose behalf the service assumes it (``aws:SourceArn``).
    """

    arn: str
    source_arn: str

    @classmethod
    def build_for_new(cls, arn: str, kind: str, region: str) -> Self:
        """
        Build the role of a job for a resource that does not exist yet.

        :param kind: Type of the resource in its ARN.
        """
        _, partition, _, _, account, _ = arn.split(":", 5)
        # Trust policies have a wildcard in the place of the identifier (user guide, ml-roles).
        return cls(arn, f"arn:{partition}:cleanrooms-ml:{region}:{account}:{kind}/new")

    @property
    def partition(self) -> str:
        """The partition of AWS."""
        return self.arn.split(":")[1]

    @property
    def account(self) -> str:
        """The account."""
        return self.arn.split(":")[4]

    @property
    def name(self) -> str:
        """The name, without a path."""
        return self.arn.rpartition("/")[2]


@dataclass(frozen=True)
class Access:
    """
    Actions that the role needs.

    :param actions: The actions.
    :param resource: ARN of the resource.
    :param label: The resource in findings.
    """

    actions: tuple[str, ...]
    resource: str
    label: str


def check_trust(iam: IamClient, role: JobRole, findings: Findings) -> bool:
    """
    Check that the role exists, and that the service may assume it.

    :param findings: Collects findings.
    :return: Whether the role exists, as far as the caller can see. Its permissions matter even if the service may not assume it.
    """
    try:
        policy = iam.get_role(RoleName=role.name)["Role"]["AssumeRolePolicyDocument"]
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in _NOT_FOUND:
            findings.add(Rule.ROLE_NOT_FOUND.build("roleArn", role=role.arn))
            return False
        if code not in DENIED:
            raise
        values = {"subject": f"The trust policy of role {role.arn}", "reason": "the caller is not allowed to read it"}
        findings.add(Rule.NOT_CHECKED.build("roleArn", **values, remedy="grant iam:GetRole to the caller"))
        return True
    reason = find_trust_problem(policy, role)
    if reason is not None:
        findings.add(Rule.ROLE_NOT_ASSUMABLE.build("roleArn", role=role.arn, service=SERVICE, reason=reason))
    return True


def find_trust_problem(policy: Any, role: JobRole) -> str | None:
    """
    Find out why a trust policy does not let the service assume the role.

    Conditions on keys other than ``aws:SourceAccount`` and ``aws:SourceArn`` cannot be evaluated, nor can some values
    (:func:`evaluate_conditions`): they count as met in an Allow statement, and as not met in a Deny statement.

    :param policy: The trust policy, as JSON or parsed.
    :return: None if it does; empty if no statement names the service, or else what excludes it.
    """
    context = {"aws:sourceaccount": role.account, "aws:sourcearn": role.source_arn}
    reason, allowed = "", False
    for statement in list_statements(policy):
        if not _names_service(statement) or not matches_element(statement, "Action", "sts:AssumeRole", re.IGNORECASE):
            continue
        results = list(evaluate_conditions(statement.get("Condition") or {}, context))
        # An explicit Deny overrides every Allow, wherever it is in the policy (IAM user guide, evaluation logic).
        if statement.get("Effect") == "Deny" and all(result is True for result in results):
            return ", because a statement denies it"
        if statement.get("Effect") == "Allow":
            allowed |= all(result is not False for result in results)
            reason = f", because a condition of the statement that allows it does not match {role.source_arn} in account {role.account}"
    return None if allowed else reason


def check_permissions(iam: IamClient, role: JobRole, needed: Iterable[Access], findings: Findings) -> None:
    """
    Check by IAM's policy simulator that the policies of the role allow what it needs.

    The simulator does not know bucket policies, key policies and Lake Formation.

    :param findings: Collects findings.
    """
    for access in needed:
        denied = simulate(iam, role, access, findings)
        if denied is None:
            # The simulator cannot be used, which the finding says; further requests would fail in the same way.
            return
        if denied:
            values = {"actions": ", ".join(denied), "resource": access.label}
            findings.add(Rule.ROLE_LACKS_PERMISSION.build("roleArn", role=role.arn, **values))


def simulate(iam: IamClient, role: JobRole, access: Access, findings: Findings) -> list[str] | None:
    """
    Return the actions that the role may not perform; None if the simulator cannot be used.

    :param findings: Collects the finding that the simulator cannot be used.
    :raises ClientError: IAM failed, and may not fail the next time.
    """
    request = {"PolicySourceArn": role.arn, "ActionNames": list(access.actions), "ResourceArns": [access.resource]}
    try:
        results = iam.simulate_principal_policy(**request)["EvaluationResults"]
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code not in DENIED and code.removesuffix("Exception") not in _REJECTIONS:
            # Throttling, for instance: the next attempt may succeed.
            raise
        if code in DENIED:
            reason, remedy = (
                "the caller is not allowed to simulate them",
                "grant iam:SimulatePrincipalPolicy to the caller",
            )
        else:
            reason, remedy = f"IAM rejected the simulation ({code})", "check the ARN of the role and its policies"
        values = {"subject": f"The permissions of role {role.arn}", "reason": reason}
        findings.add(Rule.NOT_CHECKED.build("roleArn", **values, remedy=remedy))
        return None
    return [result["EvalActionName"] for result in results if result["EvalDecision"] != "allowed"]


def check_role_of_seed(iam: IamClient, role: JobRole, uri: str, findings: Findings) -> None:
    """
    Check that the service may assume the role of a seed, and that the role may read its files.

    :param uri: S3 URI of the seed; empty for a SQL seed.
    :param findings: Collects findings.
    """
    if not check_trust(iam, role, findings) or not uri:
        return
    location = Location.parse(uri, "The seed")
    bucket = f"arn:{role.partition}:s3:::{location.bucket}"
    # A prefix is not an object: a made-up key below it matches the patterns that policies have for its files.
    key = f"{location.key}file" if not location.key or location.key.endswith("/") else location.key
    needed = (
        Access(BUCKET_ACTIONS, bucket, f"bucket {location.bucket}"),
        Access(("s3:GetObject",), f"{bucket}/{key}", str(location)),
    )
    check_permissions(iam, role, needed, findings)


def _names_service(statement: Mapping[str, Any]) -> bool:
    if "NotPrincipal" in statement:
        return not _contains_service(statement["NotPrincipal"])
    return _contains_service(statement.get("Principal", {}))


def _contains_service(principal: Any) -> bool:
    if principal == "*":
        return True
    names = list_values(principal.get("Service", [])) if isinstance(principal, Mapping) else []
    return any(matches_wildcards(name, SERVICE) for name in names)
