"""What the nouns of the backend share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from typing import Any

import boto3
from botocore.config import Config

from airflow_cleanroomsml._requests.model import argument_members, load, operation_names
from airflow_cleanroomsml._requests.permissions import Permission
from airflow_cleanroomsml.emulator.context import Shared
from airflow_cleanroomsml.emulator.errors import conflict, denied, quota
from airflow_cleanroomsml.emulator.lifecycle import PENDING, Life
from airflow_cleanroomsml.emulator.moto_s3 import ROLE_HEADER
from airflow_cleanroomsml.emulator.settings import Settings
from airflow_cleanroomsml.emulator.store import Caller, Record


class BackendBase:
    """
    State, clock, and hands to work with.

    A public method is an operation of the API: its first argument is the caller, the others are the request's members in snake_case;
    it returns the answer's members in the API's own spelling. A method of a list operation returns a :class:`Listing`.

    :param shared: State, clock and switches, which the sister service has too.
    :param endpoint: URL at which S3 and Glue are found: the emulator's own.
    :param workers: What runs the jobs that compute.
    """

    #: boto3's name of the service.
    service = "cleanroomsml"

    def __init__(self, shared: Shared, endpoint: Callable[[], str], workers: Executor) -> None:
        self._shared = shared
        self.clock = shared.clock
        self.store = shared.store
        self._endpoint = endpoint
        self._workers = workers
        self._session_lock = threading.Lock()

    @property
    def settings(self) -> Settings:
        """The switches as they are now."""
        return self._shared.settings

    def client(self, service: str, caller: Caller, role_arn: str) -> Any:
        """
        A boto3 client in the caller's account; its credentials are the account id.

        :param role_arn: The role that bucket policies see.
        """
        with self._session_lock:
            session: Any = boto3.session.Session(caller.account, "emulator", region_name=caller.region)
            client = session.client(
                service,
                endpoint_url=self._endpoint(),
                config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 2}, proxies={}),
            )
        client.meta.events.register(
            "before-sign", lambda request, **_: request.headers.add_header(ROLE_HEADER, role_arn)
        )
        return client

    def job(self, work: Callable[[], Any]) -> Life:
        """The life of something that computes."""
        return self.following(None if self.store.verdict else self._workers.submit(work))

    def following(self, work: Future[Any] | None, *, keeps: bool = False, retention: float | None = None) -> Life:
        """The life of something that is done when the time is over and the work, if any, is done."""
        of = self.settings
        life = Life(self.clock, of.pending_seconds, of.progress_seconds, of.delete_seconds, work, keeps, retention)
        if self.store.verdict is not None:
            life.fail(self.store.verdict)
        return life

    def instant(self) -> Life:
        """The life of something that is there, and gone, at once."""
        return Life(self.clock)

    def delete(self, record: Record) -> None:
        """Begin its deletion."""
        self.store.delete(record)

    def spelled(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        """
        Members of a request in the API's own spelling.

        :param operation: boto3's method name.
        :param given: Members in snake_case.
        """
        model = load(self.service)
        names = argument_members(model.operation_model(operation_names(model)[operation]))
        return {names[name]: value for name, value in given.items()}

    def require_free_name(self, caller: Caller, kind: str, noun: str, name: str) -> None:
        """Refuse a name that is in use in the account."""
        if self.settings.unique_names and any(record.fields["name"] == name for record in self.store.all(kind, caller)):
            raise conflict(f"{noun} with the name '{name}' already exists in this account and region.")

    def require_free_name_among(self, records: Iterable[Record], noun: str, name: str) -> None:
        """Refuse a name that one of these has."""
        if self.settings.unique_names and any(record.fields["name"] == name for record in records):
            raise conflict(f"{noun} with the name '{name}' already exists.", "ALREADY_EXISTS")

    def require_own_role(self, caller: Caller, role_arn: str) -> None:
        """Refuse a role of another account: "Passing a role across AWS accounts is not allowed" (API reference)."""
        _, partition, _, _, account, _ = role_arn.split(":", 5)
        if account != caller.account:
            raise denied(
                f"{role_arn} is not a role of account {caller.account}: roles cannot be passed across accounts."
            )
        if partition != caller.partition:
            raise denied(f"{role_arn} is not a role of the partition {caller.partition}, which {caller.region} is in.")

    def require_permissions(self, caller: Caller, actions: Iterable[str], resource: str) -> None:
        """Refuse a caller who may not do what an operation does on the caller's behalf."""
        self._shared.permissions.require(caller, (Permission(action, resource) for action in actions))

    def require_quota(self, caller: Caller, kind: str, name: str, value: int) -> None:
        """Refuse when as many of a kind are under way as the quota allows."""
        if sum(record.status in PENDING for record in self.store.all(kind, caller)) >= value:
            raise quota(name, value)
