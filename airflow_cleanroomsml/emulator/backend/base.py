"""The base class of the backend's classes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, wait
from typing import Any, NamedTuple

import boto3
from botocore.config import Config

from airflow_cleanroomsml._requests.model import load, map_arguments, map_operations
from airflow_cleanroomsml._requests.permissions import Permission
from airflow_cleanroomsml._training_data.role import JobRole
from airflow_cleanroomsml.emulator import _compat
from airflow_cleanroomsml.emulator.context import Shared
from airflow_cleanroomsml.emulator.errors import access_denied_error, conflict_error, quota_error
from airflow_cleanroomsml.emulator.lifecycle import PENDING, Lifecycle
from airflow_cleanroomsml.emulator.moto_s3 import ROLE_HEADER
from airflow_cleanroomsml.emulator.settings import Settings
from airflow_cleanroomsml.emulator.store import Caller, Record

#: The emulator accepts any.
_SIGNING_KEY = "emulator"


class ClientFactory:
    """
    Builds the boto3 clients with which jobs read and write.

    :param endpoint: Returns the URL of S3 and Glue: the emulator's own.
    """

    def __init__(self, endpoint: Callable[[], str]) -> None:
        self._endpoint = endpoint
        self._session_lock = threading.Lock()
        self._session: Any = None

    def build(self, service: str, caller: Caller, role_arn: str) -> Any:
        """
        Build a boto3 client in the caller's account; its access key is the account id.

        :param role_arn: The role for which bucket policies are evaluated.
        """
        # "Session objects are not thread safe" (boto3 guide, Session). One session for all callers keeps botocore's data files, which
        # take longer to read and parse than a client takes to build.
        with self._session_lock:
            self._session = self._session or boto3.session.Session()
            client = self._session.client(
                service,
                region_name=caller.region,
                aws_access_key_id=caller.account,
                aws_secret_access_key=_SIGNING_KEY,
                endpoint_url=self._endpoint(),
                config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 2}, proxies={}),
            )
        # In a header, because the access key is the account id and cannot name a role as well.
        client.meta.events.register(
            "before-sign", lambda request, **_: request.headers.add_header(ROLE_HEADER, role_arn)
        )
        return client


class BackendContext(NamedTuple):
    """
    What the classes of the backend share.

    :param shared: State that both services share.
    :param clients: Builds clients for the jobs.
    :param workers: Runs the jobs that compute something.
    """

    shared: Shared
    clients: ClientFactory
    workers: Executor


class BackendBase:
    """
    Helpers of the operations. The state is in the context, so a class may delegate to objects of other classes.

    A method with the name of an operation carries it out. Its first argument is the caller, the others are the members of the request in
    snake_case; it returns the members of the response in the API's own spelling. The method of a List operation returns a
    :class:`Listing`.

    :param context: What all classes share.
    """

    #: boto3's name of the service.
    service = "cleanroomsml"

    def __init__(self, context: BackendContext) -> None:
        self._shared, self.clients, self._workers = context
        self.clock = self._shared.clock
        self.store = self._shared.store

    @property
    def settings(self) -> Settings:
        """The current settings, which a test may have changed."""
        return self._shared.settings

    def build_role_check(self, caller: Caller, role_arn: str, source_arn: str) -> dict[str, Any]:
        """
        Build the arguments with which a job checks its role: ``iam`` and ``role``; empty if the role is not to be checked.

        :param source_arn: ARN of the resource on whose behalf the service assumes the role.
        """
        role = JobRole(role_arn, source_arn)
        if not self.settings.roles_must_exist and not _compat.find_role(caller.account, role.partition, role.name):
            return {}
        return {"iam": self.clients.build("iam", caller, role_arn), "role": role}

    def run_in_background(self, work: Callable[[], Any]) -> Lifecycle:
        """Submit work to the worker threads, and build the lifecycle of its resource."""
        # A job that a fault makes fail must not write an export, so it computes nothing.
        if self.store.forced_failure:
            return self.build_lifecycle(None)
        job = self._workers.submit(work)
        self._shared.jobs.add(job)
        if self.settings.synchronous_jobs:
            # The caller holds the store's lock. That cannot deadlock, because jobs only call S3, Glue and IAM, which do not take it.
            wait((job,))
        return self.build_lifecycle(job)

    def build_lifecycle(
        self, work: Future[Any] | None, *, keeps_metadata: bool = False, retention: float | None = None
    ) -> Lifecycle:
        """
        Build the lifecycle of a resource that takes time; arguments as for :class:`Lifecycle`.

        It fails if a fault for the current request makes it fail.
        """
        settings = self.settings
        lifecycle = Lifecycle(
            self.clock,
            settings.pending_seconds,
            settings.progress_seconds,
            settings.delete_seconds,
            work,
            keeps_metadata,
            retention,
        )
        if self.store.forced_failure is not None:
            lifecycle.fail(self.store.forced_failure)
        return lifecycle

    def build_instant_lifecycle(self) -> Lifecycle:
        """Build the lifecycle of a resource that is created and deleted synchronously."""
        return Lifecycle(self.clock)

    def delete(self, record: Record) -> None:
        """Start the deletion of a record."""
        self.store.delete(record)

    def to_api_names(self, operation: str, members: dict[str, Any]) -> dict[str, Any]:
        """
        Convert the names of a request's members to the API's own spelling.

        :param operation: boto3's method name.
        :param members: Members in snake_case.
        """
        model = load(self.service)
        names = map_arguments(model.operation_model(map_operations(model)[operation]))
        return {names[name]: value for name, value in members.items()}

    def require_free_name(self, caller: Caller, kind: str, noun: str, name: str) -> None:
        """Reject a name that is in use in the account."""
        if self.settings.unique_names and any(
            record.fields["name"] == name for record in self.store.find(kind, caller)
        ):
            raise conflict_error(f"{noun} '{name}' already exists in this account and region: choose another name.")

    def require_free_name_among(self, records: Iterable[Record], noun: str, name: str) -> None:
        """Reject a name that one of these records has."""
        if self.settings.unique_names and any(record.fields["name"] == name for record in records):
            raise conflict_error(f"{noun} '{name}' already exists: choose another name.", "ALREADY_EXISTS")

    def require_own_role(self, caller: Caller, role_arn: str) -> None:
        """Reject a role of another account: "Passing a role across AWS accounts is not allowed" (API reference)."""
        _, partition, _, _, account, _ = role_arn.split(":", 5)
        if account != caller.account:
            raise access_denied_error(
                f"The role {role_arn} is not in account {caller.account}. Passing a role across accounts is not allowed."
            )
        if partition != caller.partition:
            raise access_denied_error(
                f"The role {role_arn} is not in the partition {caller.partition} of {caller.region}."
            )

    def require_permissions(self, caller: Caller, actions: Iterable[str], resource: str) -> None:
        """Deny a request if the caller lacks permissions for what the operation does on their behalf."""
        self._shared.permissions.require(caller, (Permission(action, resource) for action in actions))

    def require_quota(self, caller: Caller, kind: str, name: str, value: int) -> None:
        """Reject a request when as many resources of a kind are being created as the quota allows."""
        if sum(record.status in PENDING for record in self.store.find(kind, caller)) >= value:
            raise quota_error(name, value)
