"""Resource policies of configured audience models, and what they allow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from airflow_cleanroomsml.emulator.backend.base import BackendBase
from airflow_cleanroomsml.emulator.errors import denied, invalid, not_found
from airflow_cleanroomsml.emulator.store import Caller, Record, Store

NOUN = "Configured audience model"
_ACTION = "cleanrooms-ml:StartAudienceGenerationJob"


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
        _write(record, configured_audience_model_policy)
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
        statements = _parsed(_present(model))
        about = [s for s in statements if _is_about(s, caller)]
        for resource in (model.arn, model.caller.arn("audience-generation-job")):
            effects = {s["Effect"] for s in about if _names(s, resource, collaboration_id)}
            if effects != {"Allow"}:
                raise denied(_refusal(caller, resource, denied="Deny" in effects, collaboration_id=collaboration_id))


def allow(model: Record, association: Record, accounts: list[str]) -> None:
    """Add the statement by which an association lets other members start generation jobs (user guide, ml-behaviors)."""
    if not accounts:
        return
    statement = {
        "Sid": _sid(association),
        "Effect": "Allow",
        "Principal": {"AWS": accounts},
        "Action": [_ACTION],
        "Resource": [model.arn, f"{model.arn.rsplit(':', 1)[0]}:audience-generation-job/*"],
        "Condition": {"StringEquals": {"cleanrooms-ml:CollaborationId": association.fields["collaborationId"]}},
    }
    _write(model, _document([*_parsed(_present(model)), statement]))


def withdraw(store: Store, association: Record) -> None:
    """Take the statement of an association away; the last one takes the policy with it."""
    arn = association.fields["configuredAudienceModelArn"]
    for model in store.all("configured-audience-model", association.caller, arn=arn):
        statements = _parsed(_present(model))
        left = [statement for statement in statements if statement.get("Sid") != _sid(association)]
        if left and left != statements:
            _write(model, _document(left))
        elif left != statements:
            del model.fields["policyHash"], model.fields["configuredAudienceModelPolicy"]


def _sid(association: Record) -> str:
    return f"CleanRooms{association.id.replace('-', '')}"


def _document(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _present(model: Record) -> str:
    text: str = model.fields.get("configuredAudienceModelPolicy", '{"Statement": []}')
    return text


def _write(model: Record, policy: str) -> None:
    model.fields["policyHash"] = hashlib.sha256(policy.encode()).hexdigest()
    model.fields["configuredAudienceModelPolicy"] = policy


def _refusal(caller: Caller, resource: str, *, denied: bool, collaboration_id: str | None) -> str:
    why = "a statement of the resource policy denies it" if denied else "no statement of the resource policy allows it"
    hint = "" if collaboration_id else "; policies that Clean Rooms manages ask for the collaborationId"
    return f"Account {caller.account} is not authorized to perform {_ACTION} on {resource}: {why}{hint}."


def _parsed(policy: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(policy)["Statement"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise invalid("The policy is not a JSON document with a Statement.") from None
    statements = found if isinstance(found, list) else [found]
    if not all(isinstance(s, dict) and s.get("Effect") in ("Allow", "Deny") for s in statements):
        raise invalid("Every statement of the policy must be an object whose Effect is Allow or Deny.")
    return statements


def _texts(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _principals(statement: dict[str, Any]) -> Iterator[str]:
    principal = statement.get("Principal", {})
    for text in _texts(principal.get("AWS", []) if isinstance(principal, dict) else principal):
        yield text.split(":")[4] if text.startswith("arn:") else text


def _is_about(statement: dict[str, Any], caller: Caller) -> bool:
    """Whether a statement is about this caller and starting generation jobs."""
    actions = _texts(statement.get("Action", []))
    principals = list(_principals(statement))
    return any(fnmatchcase(_ACTION, pattern) for pattern in actions) and not {"*", caller.account}.isdisjoint(
        principals
    )


def _names(statement: dict[str, Any], resource: str, collaboration_id: str | None) -> bool:
    """
    Whether a statement applies to a resource.

    Of conditions this emulator knows one; a statement with another allows nothing, and denies.
    """
    if not any(fnmatchcase(resource, pattern) for pattern in _texts(statement.get("Resource", []))):
        return False
    conditions = {
        (operator, key): value
        for operator, keys in statement.get("Condition", {}).items()
        for key, value in keys.items()
    }
    wanted = conditions.pop(("StringEquals", "cleanrooms-ml:CollaborationId"), None)
    if conditions:
        return bool(statement["Effect"] == "Deny")
    return wanted is None or collaboration_id in _texts(wanted)
