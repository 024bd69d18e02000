"""Resource policies of configured audience models, and their evaluation."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_cleanroomsml._requests.arns import parse_arn
from airflow_cleanroomsml._training_data.policy_elements import (
    evaluate_conditions,
    find_policy_problem,
    list_principals,
    list_statements,
    matches_element,
)
from airflow_cleanroomsml.emulator.backend.base import BackendBase
from airflow_cleanroomsml.emulator.errors import access_denied_error, not_found_error, validation_error
from airflow_cleanroomsml.emulator.store import Caller, Record, Store

NOUN = "Configured audience model"
_ACTION = "cleanrooms-ml:StartAudienceGenerationJob"


@dataclass(frozen=True)
class ConfiguredModelDetails:
    """
    Details of a configured audience model.

    :param policy: Its resource policy, in JSON; empty if it has none.
    """

    policy: str = ""


class ConfiguredAudienceModelPolicies(BackendBase):
    """Operations on policies, which are stored with the configured audience model."""

    def put_configured_audience_model_policy(
        self,
        caller: Caller,
        *,
        configured_audience_model_arn: str,
        configured_audience_model_policy: str,
        previous_policy_hash: str | None = None,
        policy_existence_condition: str | None = None,
    ) -> dict[str, Any]:
        """PutConfiguredAudienceModelPolicy; a failed condition is a ValidationException, as it declares no ConflictException."""
        record = self.store.get(configured_audience_model_arn, NOUN, caller)
        present = record.details.policy
        if previous_policy_hash and (not present or previous_policy_hash != _hash(present)):
            raise validation_error(
                "previousPolicyHash does not match the policyHash of the current policy: read the policy again."
            )
        if policy_existence_condition == "POLICY_MUST_EXIST" and not present:
            raise validation_error("policyExistenceCondition is POLICY_MUST_EXIST, but the model has no policy.")
        if policy_existence_condition == "POLICY_MUST_NOT_EXIST" and present:
            raise validation_error("policyExistenceCondition is POLICY_MUST_NOT_EXIST, but the model has a policy.")
        if problem := find_policy_problem(configured_audience_model_policy, ("Principal", "Action", "Resource")):
            raise validation_error(f"configuredAudienceModelPolicy is not a valid policy: {problem}.")
        _require_principals(list_statements(configured_audience_model_policy))
        _write_policy(record, configured_audience_model_policy)
        return _describe(record)

    def get_configured_audience_model_policy(
        self, caller: Caller, *, configured_audience_model_arn: str
    ) -> dict[str, Any]:
        """GetConfiguredAudienceModelPolicy."""
        return _describe(self._require_policy(caller, configured_audience_model_arn))

    def delete_configured_audience_model_policy(
        self, caller: Caller, *, configured_audience_model_arn: str
    ) -> dict[str, Any]:
        """DeleteConfiguredAudienceModelPolicy."""
        record = self._require_policy(caller, configured_audience_model_arn)
        _write_policy(record, "")
        return {}

    def _require_policy(self, caller: Caller, arn: str) -> Record:
        record = self.store.get(arn, NOUN, caller)
        if not record.details.policy:
            raise not_found_error("Policy of configured audience model", arn)
        return record

    def require_allowed(self, caller: Caller, model: Record, collaboration_id: str | None) -> None:
        """Deny a generation job on another account's model unless the model's policy allows it."""
        if model.caller.account == caller.account:
            return
        context = {"cleanrooms-ml:collaborationid": collaboration_id, "aws:principalaccount": caller.account}
        applicable = [
            statement
            for statement in _list_statements(model)
            if _matches_caller(statement, caller) and _meets_conditions(statement, context)
        ]
        # The policy must allow the action on the model and on the job in the owner's account (user guide, ml-behaviors).
        # The job does not exist yet. Any ARN of a job will do, because policies can only name jobs by a wildcard.
        for resource in (model.arn, model.caller.build_arn("audience-generation-job")):
            effects = {s["Effect"] for s in applicable if matches_element(s, "Resource", resource)}
            # An explicit deny overrides an allow, and no statement means an implicit deny (IAM user guide, evaluation logic).
            if effects != {"Allow"}:
                is_denied = "Deny" in effects
                text = _format_refusal(caller, resource, is_denied=is_denied, collaboration_id=collaboration_id)
                raise access_denied_error(text)


def add_statement(model: Record, association: Record, accounts: list[str]) -> None:
    """Add the statement that lets other members of a collaboration start generation jobs (user guide, ml-behaviors)."""
    if not accounts:
        return
    statement = {
        "Sid": _format_sid(association),
        "Effect": "Allow",
        "Principal": {"AWS": accounts},
        "Action": [_ACTION],
        "Resource": [model.arn, f"{model.arn.rsplit(':', 1)[0]}:audience-generation-job/*"],
        "Condition": {"StringEquals": {"cleanrooms-ml:CollaborationId": association.fields["collaborationId"]}},
    }
    _write_policy(model, _format_policy([*_list_statements(model), statement]))


def remove_statement(store: Store, association: Record) -> None:
    """Remove the statement of an association, and with the last one the policy."""
    arn = association.fields["configuredAudienceModelArn"]
    for model in store.find("configured-audience-model", association.caller, arn=arn):
        statements = _list_statements(model)
        remaining = [statement for statement in statements if statement.get("Sid") != _format_sid(association)]
        if remaining and remaining != statements:
            _write_policy(model, _format_policy(remaining))
        elif remaining != statements:
            _write_policy(model, "")


def _format_sid(association: Record) -> str:
    # A Sid has only letters and digits (IAM user guide, reference_policies_elements_sid).
    return f"CleanRooms{association.id.replace('-', '')}"


def _format_policy(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _list_statements(model: Record) -> list[dict[str, Any]]:
    policy: str = model.details.policy
    return list_statements(policy) if policy else []


def _write_policy(model: Record, policy: str) -> None:
    model.details = ConfiguredModelDetails(policy)


def _describe(model: Record) -> dict[str, Any]:
    policy: str = model.details.policy
    return {
        "configuredAudienceModelArn": model.arn,
        "configuredAudienceModelPolicy": policy,
        "policyHash": _hash(policy),
    }


def _hash(policy: str) -> str:
    # AWS does not document its hash; clients only compare it.
    return hashlib.sha256(policy.encode()).hexdigest()


def _format_refusal(caller: Caller, resource: str, *, is_denied: bool, collaboration_id: str | None) -> str:
    reason = (
        "with an explicit deny in a resource-based policy"
        if is_denied
        else f"because no resource-based policy allows the {_ACTION} action"
    )
    # The condition in managed policies makes the collaborationId mandatory (user guide, ml-behaviors).
    hint = "" if collaboration_id else ". Policies that Clean Rooms manages require a collaborationId"
    return f"Account {caller.account} is not authorized to perform: {_ACTION} on resource: {resource} {reason}{hint}."


def _require_principals(statements: list[dict[str, Any]]) -> None:
    """Reject a principal with an ARN without an account: those of accounts, users and roles have one (IAM user guide, principals)."""
    for text in (text for statement in statements for text in _list_named(statement)):
        if text.startswith("arn:") and not _find_account(text):
            raise validation_error(f"The policy has an invalid principal, an ARN without an account: {text}.")


def _list_named(statement: dict[str, Any]) -> list[str]:
    return list_principals(statement.get("Principal", statement.get("NotPrincipal", {})))


def _find_account(principal: str) -> str:
    """Return the account of an AWS principal: an ARN, or the account itself; empty for an ARN that has none."""
    if not principal.startswith("arn:"):
        return principal
    arn = parse_arn(principal)
    return arn.account if arn else ""


def _matches_caller(statement: dict[str, Any], caller: Caller) -> bool:
    """Return whether a statement applies to the caller and to starting generation jobs."""
    is_negated = "NotPrincipal" in statement
    principals = list_principals(statement.get("NotPrincipal" if is_negated else "Principal", {}))
    # The emulator knows the account of a caller but not their role, so an ARN stands for its account.
    is_named = not {_find_account(text) for text in principals}.isdisjoint(("*", caller.account))
    return is_named is not is_negated and matches_element(statement, "Action", _ACTION, re.IGNORECASE)


def _meets_conditions(statement: dict[str, Any], context: Mapping[str, str | None]) -> bool:
    """Return whether the conditions of a statement are met; an unknown one is in a Deny statement, and is not in an Allow statement."""
    results = evaluate_conditions(statement.get("Condition", {}), context)
    return all(statement["Effect"] == "Deny" if isinstance(result, str) else result for result in results)
