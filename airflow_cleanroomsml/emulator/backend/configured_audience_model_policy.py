"""Resource policies of configured audience models, and what they allow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from airflow_cleanroomsml.emulator.backend.base import BackendBase
from airflow_cleanroomsml.emulator.errors import denied, invalid, not_found
from airflow_cleanroomsml.emulator.state import Caller, Record

NOUN = "Configured audience model"


class ConfiguredAudienceModelPolicies(BackendBase):
    """One policy a configured audience model, kept beside its record."""

    def put_configured_audience_model_policy(
        self,
        caller: Caller,
        *,
        configured_audience_model_arn: str,
        configured_audience_model_policy: str,
        previous_policy_hash: str | None = None,
        policy_existence_condition: str | None = None,
    ) -> dict[str, Any]:
        """PutConfiguredAudienceModelPolicy; it declares no ConflictException, so a lost race is a ValidationException."""
        record = self.store.get(configured_audience_model_arn, NOUN, caller)
        present = record.fields.get("policyHash")
        if previous_policy_hash and previous_policy_hash != present:
            raise invalid("previousPolicyHash is not the hash of the policy that is in force.")
        if policy_existence_condition == "POLICY_MUST_EXIST" and not present:
            raise invalid("POLICY_MUST_EXIST: there is no policy.")
        if policy_existence_condition == "POLICY_MUST_NOT_EXIST" and present:
            raise invalid("POLICY_MUST_NOT_EXIST: there is a policy.")
        _parsed(configured_audience_model_policy)
        record.fields["policyHash"] = hashlib.sha256(configured_audience_model_policy.encode()).hexdigest()
        record.fields["configuredAudienceModelPolicy"] = configured_audience_model_policy
        return record.fields

    def get_configured_audience_model_policy(
        self, caller: Caller, *, configured_audience_model_arn: str
    ) -> dict[str, Any]:
        """GetConfiguredAudienceModelPolicy."""
        return self._with_policy(caller, configured_audience_model_arn).fields

    def delete_configured_audience_model_policy(
        self, caller: Caller, *, configured_audience_model_arn: str
    ) -> dict[str, Any]:
        """DeleteConfiguredAudienceModelPolicy."""
        record = self._with_policy(caller, configured_audience_model_arn)
        del record.fields["policyHash"], record.fields["configuredAudienceModelPolicy"]
        return {}

    def _with_policy(self, caller: Caller, arn: str) -> Record:
        record = self.store.get(arn, NOUN, caller)
        if "policyHash" not in record.fields:
            raise not_found("Policy of configured audience model", arn)
        return record

    def require_allowed(self, caller: Caller, model: Record, collaboration_id: str | None) -> None:
        """Refuse a generation job in another account's model unless that model's policy allows it."""
        if model.caller.account == caller.account:
            return
        action = "cleanrooms-ml:StartAudienceGenerationJob"
        statements = _parsed(model.fields.get("configuredAudienceModelPolicy", '{"Statement": []}'))
        if not any(_allows(s, caller, action, model.arn, collaboration_id) for s in statements):
            raise denied(
                f"Account {caller.account} is not authorized to perform {action} on {model.arn}: no statement of the resource policy "
                "allows it"
                + ("." if collaboration_id else "; policies that Clean Rooms manages ask for the collaborationId.")
            )


def _parsed(policy: str) -> list[dict[str, Any]]:
    try:
        statements = json.loads(policy)["Statement"]
    except (ValueError, KeyError, TypeError):
        raise invalid("The policy is not a JSON document with a Statement.") from None
    return statements if isinstance(statements, list) else [statements]


def _texts(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _principals(statement: dict[str, Any]) -> Iterator[str]:
    principal = statement.get("Principal", {})
    for text in _texts(principal.get("AWS", []) if isinstance(principal, dict) else principal):
        yield text.split(":")[4] if text.startswith("arn:") else text


def _allows(statement: dict[str, Any], caller: Caller, action: str, arn: str, collaboration_id: str | None) -> bool:
    wanted = statement.get("Condition", {}).get("StringEquals", {}).get("cleanrooms-ml:CollaborationId")
    return (
        statement.get("Effect") == "Allow"
        and any(principal in ("*", caller.account) for principal in _principals(statement))
        and any(fnmatchcase(action, pattern) for pattern in _texts(statement.get("Action", [])))
        and any(fnmatchcase(arn, pattern) for pattern in _texts(statement.get("Resource", [])))
        and (wanted is None or collaboration_id in _texts(wanted))
    )
