"""The hook: every request of this package goes through :meth:`CleanRoomsMLHook.send`, listings through :meth:`CleanRoomsMLHook.pages`."""

from __future__ import annotations

import inspect
import json
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from copy import copy
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from typing import Any

import boto3
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    TokenRetrievalError,
)

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._cached import cached
from airflow_cleanroomsml._compat import AirflowException, BaseOperator
from airflow_cleanroomsml._connection.aws_connection import convert_connection
from airflow_cleanroomsml._connection.client_factory import explain_errors, log_in, make_client
from airflow_cleanroomsml._connection.client_options import make_config
from airflow_cleanroomsml._connection.transport import (
    NoAnswerError,
    Stage,
    find_stage,
    is_lost,
    is_transient,
    may_lack_files,
    reason,
    redirect_error,
    require_complete,
)
from airflow_cleanroomsml._connection.validation import check_connection, find_unusable_file, wrap_connection
from airflow_cleanroomsml._requests.request import Request, load
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS_ML
from airflow_cleanroomsml.exceptions import (
    CleanRoomsMLError,
    ConfigurationError,
    CredentialsUnavailableError,
    OutcomeUnknownError,
    ServiceError,
    ThrottledError,
    UnavailableError,
    UnreachableError,
    lines,
    service_error,
)

#: What to do about a set-up that is not complete.
_HINTS: dict[type[Exception], str] = {
    NoCredentialsError: "Check aws_conn_id: a connection that does not exist, or has no login, leaves it to boto3 to find credentials.",
}
#: How often a create or start that was throttled is tried again, and the longest pause, in seconds. Starts are throttled at one a
#: second (user guide, Quotas), so eight pauses of up to 20 s let about a hundred tasks through at once.
_THROTTLED_RETRIES = 8
_LONGEST_PAUSE = 20.0


class CleanRoomsMLHook(AwsBaseHook):
    """
    AWS Clean Rooms ML through boto3.

    :param aws_conn_id: Airflow connection of type ``aws``; None takes boto3's own credentials.
    :param region_name: AWS region.
    :param verify: Whether or with which certificates to verify TLS.
    :param config: botocore configuration, a ``botocore.config.Config`` or its arguments as a dictionary. A create or start is
        sent once whatever its ``retries`` say.
    :param service: boto3's name of the service: ``cleanroomsml``, or its sister ``cleanrooms``, whose collaborations it works in.
    """

    def __init__(
        self,
        aws_conn_id: str | None = AwsBaseHook.default_conn_name,
        *,
        region_name: str | None = None,
        verify: bool | str | None = None,
        config: Config | dict[str, Any] | None = None,
        service: str = CLEAN_ROOMS_ML,
    ) -> None:
        self._given, left_out = convert_connection(
            aws_conn_id=aws_conn_id, region_name=region_name, verify=verify, botocore_config=config
        )
        super().__init__(
            aws_conn_id=self._given["aws_conn_id"],
            region_name=self._given["region_name"],
            verify=self._given["verify"],
            config=make_config(self._given["botocore_config"]),
            client_type=service,
        )
        self._hooks = {service: self}
        for name in left_out:
            default = "boto3's own credentials are" if name == "aws_conn_id" else "the default is"
            self.log.warning('%s rendered to "None" and is left out: %s used.', name, default)

    def of(self, service: str) -> CleanRoomsMLHook:
        """
        The hook of a service over the same session.

        :param service: boto3's name, ``cleanroomsml`` or ``cleanrooms``.
        """
        if service not in self._hooks:
            _ = self._session, self.conn_config
            other = copy(self)
            other.client_type = service
            for client in ("conn", "conn_once"):
                vars(other).pop(client, None)
            self._hooks[service] = other
        return self._hooks[service]

    # What may ask Airflow or log in is made without the lock that the amazon provider's own properties have.
    @cached
    def conn_config(self) -> Any:
        """
        The connection, as the amazon provider wraps it.

        :raises ConfigurationError: It is not valid, or an argument is not.
        """
        own: Any = AwsBaseHook.conn_config
        return wrap_connection(lambda: own.func(self), self._given)

    @classmethod
    def get_connection(cls, conn_id: str) -> Any:
        """
        Read an Airflow connection.

        :raises ConfigurationError: It is incomplete or malformed.
        """
        connection = super().get_connection(conn_id)
        check_connection(connection)
        return connection

    @cached
    def conn(self) -> Any:
        """The client."""
        return self.get_client_type(region_name=self.region_name)

    @cached
    def _session(self) -> boto3.session.Session:
        make = partial(super().get_session, region_name=self.region_name)
        session: boto3.session.Session = explain_errors(self, make, logs_in=True)
        session.events.register("before-parse.cleanroomsml", _tell_quota)
        return session

    def get_session(self, region_name: str | None = None, deferrable: bool = False) -> Any:
        """One session for both clients: a second one would read the service's data files again."""
        if deferrable or region_name not in (None, self.region_name):
            return super().get_session(region_name=region_name, deferrable=deferrable)
        return self._session

    def get_client_type(
        self, region_name: str | None = None, config: Config | None = None, deferrable: bool = False
    ) -> Any:
        """
        Make a client and fetch its credentials.

        :raises ConfigurationError: It cannot work as it is configured.
        :raises CleanRoomsMLError: Credentials cannot be fetched.
        """
        make = partial(super().get_client_type, region_name, config, deferrable)
        return make() if deferrable else make_client(self, self.get_session(region_name), make)

    def _get_caller(self, target_function_name: str = "execute") -> str:
        """
        The operator that calls, for the user agent.

        The amazon provider opens the source of every frame on the stack to find it, which takes longer than the client itself, and finds
        it in ``execute`` only, not when a deferred task comes back.
        """
        frame = inspect.currentframe()
        while frame is not None:
            # Whatever else is on the stack must not keep the client from being made.
            with suppress(Exception):
                kind = type(frame.f_locals["self"])
                if issubclass(kind, BaseOperator):
                    return kind.__name__
            frame = frame.f_back
        return "Unknown"

    @property
    def _reader(self) -> Any:
        """The client for all else."""
        return self.conn

    @cached
    def conn_once(self) -> Any:
        """The client for creates and starts, which botocore never sends again: it would over a dropped connection, by default."""
        if (getattr(self.config, "retries", None) or {}).get("total_max_attempts") == 1:
            return self.conn
        once = Config(retries={"total_max_attempts": 1})
        return self.get_client_type(region_name=self.region_name, config=self.config.merge(once))

    def check(self, operation: str, arguments: Mapping[str, Any] | None = None) -> Request:
        """
        Check a request without sending it; neither credentials nor the service are needed.

        :param operation: boto3's method name, for instance ``create_audience_model``.
        :param arguments: Arguments in snake_case, nested values in the API's own spelling; None is left out.
        :raises InvalidRequestError: The request breaks the service model.
        """
        request = Request(load(self.service_name), operation, arguments or {})
        request.raise_for_violations()
        for warning in request.warnings:
            self.log.warning("%s: %s.", request.operation.name, warning)
        for path in request.left_out:
            self.log.warning('%s: %s rendered to "None" and is left out.', request.operation.name, path)
        return request

    def send(self, request: Request, *, throttled_retries: int = _THROTTLED_RETRIES) -> dict[str, Any]:
        """
        Send a request and return the answer.

        :param throttled_retries: How often a create or start that was throttled is sent again, after growing pauses.
        :return: The answer without botocore's metadata.
        :raises CleanRoomsMLError: See :mod:`airflow_cleanroomsml.exceptions`.
        """
        answer: dict[str, Any] = (
            self._once(request, throttled_retries) if request.once else self._answer(lambda: self._reader, request)
        )
        request.answered_at = _service_time(answer.pop("ResponseMetadata", {}))
        return answer

    def call(self, operation: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Check a request, send it, and return the answer: :meth:`check` and :meth:`send`."""
        return self.send(self.check(operation, arguments))

    def whole(self, operation: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """
        The answer of any operation; all pages of a listing as one, unless a token asks for one page.

        :param operation: boto3's method name.
        :param arguments: Arguments in snake_case.
        """
        request = self.check(operation, arguments)
        if "nextToken" in request.members or not self._translated(
            request, lambda: self._reader.can_paginate(operation)
        ):
            return self.send(request)
        answer: dict[str, Any] = {}
        for page in self._pages(request):
            for name, value in page.items():
                answer[name] = [*answer.get(name, ()), *value] if isinstance(value, list) else value
        answer.pop("nextToken", None)
        answer.pop("ResponseMetadata", None)
        return answer

    def pages(self, operation: str, arguments: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """
        The pages of a listing, each read when it is asked for.

        :param operation: boto3's method name, for instance ``list_audience_models``.
        :param arguments: Arguments in snake_case.
        """
        yield from self._pages(self.check(operation, arguments))

    def _pages(self, request: Request) -> Iterator[dict[str, Any]]:
        pages = self._translated(
            request, lambda: iter(self._reader.get_paginator(request.method).paginate(**request.members))
        )
        while (page := self._translated(request, lambda: next(pages, None))) is not None:
            yield require_complete(request, page)

    def items(self, operation: str, arguments: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """The entries of a listing over all its pages; arguments as for :meth:`pages`."""
        for page in self.pages(operation, arguments):
            for value in page.values():
                if isinstance(value, list):
                    yield from value

    def _once(self, request: Request, throttled_retries: int) -> Any:
        """Send what must not be carried out twice: again only where the service said that it did not take it."""
        client = self._authenticated(request)
        for pause in (*_throttled_pauses(throttled_retries), None):
            try:
                return self._answer(lambda: client, request)
            except ThrottledError:
                if pause is None:
                    raise
                self.log.info("%s was throttled; trying again in %.1f s.", request.operation.name, pause)
                _clock.sleep(pause)
            except (NoAnswerError, UnavailableError) as error:
                raise _outcome_unknown(request, error) from error
        raise AssertionError

    def _authenticated(self, request: Request) -> Any:
        """The client with fresh credentials: left to the request, a failed refresh would look like a failed request."""
        client = self.conn_once
        log_in(self, self._session)
        return client

    def _answer(self, client: Callable[[], Any], request: Request) -> Any:
        answer = self._translated(request, lambda: getattr(client(), request.method)(**request.members))
        return require_complete(request, answer)

    def _translated(self, request: Request, send: Callable[[], Any]) -> Any:
        """
        Send, with botocore's errors as this package's.

        What is raised has no cause and no context of its own: botocore's error keeps the service's text, and engines quote the SQL they
        were given.
        """
        name, handled = request.operation.name, sys.exc_info()[1]
        try:
            return send()
        except ClientError as error:
            raised: CleanRoomsMLError = redirect_error(name, error.response) or service_error(
                name, error.response, request.redact
            )
        except AirflowException:
            raise
        except Exception as error:
            stage, why = find_stage(error, handled), request.redact(reason(error))
            if stage is not Stage.SENT:
                raised = self._not_sent(name, error, why, stage, handled)
            elif request.once or is_lost(error, handled):
                raised = NoAnswerError(lines(f"{name} got a response that cannot be read.", why))
            else:
                raised = CleanRoomsMLError(lines(f"{name} failed.", why))
        raise raised

    def _not_sent(
        self, name: str, error: Exception, why: str, stage: Stage, handled: BaseException | None
    ) -> CleanRoomsMLError:
        """The error for a request that was not sent; only what the next attempt may find mended is an ``UnreachableError``."""
        first = f"{name} was not sent."
        if isinstance(error, (CredentialRetrievalError, TokenRetrievalError)):
            return CredentialsUnavailableError(lines(first, why))
        if stage is Stage.HEADERS:
            # What http.client says quotes the header, and it may be a credential.
            return CleanRoomsMLError(
                lines(
                    first,
                    "A header has a line break, or another character that HTTP does not allow.",
                    "Check the credentials, a session token for instance, for a line break at the end.",
                )
            )
        if stage is Stage.PREPARING:
            return CleanRoomsMLError(lines(first, why, _HINTS.get(type(error), "")))
        if may_lack_files(error, handled) and (
            unusable := find_unusable_file(self.conn_config, self._given, self._session)
        ):
            return ConfigurationError(lines(first, unusable))
        kind = UnreachableError if is_transient(error, handled) else CleanRoomsMLError
        return kind(lines(first, why, "Check the region, the endpoint, the proxy and the network."))


def _throttled_pauses(times: int) -> list[float]:
    """Seconds before each new try, jittered."""
    return [random.uniform(0.5, 1) * min(_LONGEST_PAUSE, 2.0**attempt) for attempt in range(times)]


def _tell_quota(response_dict: Mapping[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Name and value of a quota, which the model of botocore 1.37 does not have: waiting cannot help where it is 0."""
    if response_dict["status_code"] != HTTPStatus.PAYMENT_REQUIRED:
        return
    try:
        body = json.loads(response_dict["body"])
    except ValueError:
        return
    customized_response_dict.update({name: body[name] for name in ("quotaName", "quotaValue") if name in body})


def _service_time(metadata: Mapping[str, Any]) -> float | None:
    """When the service answered, by its ``Date`` header."""
    try:
        return parsedate_to_datetime(metadata["HTTPHeaders"]["date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return None


def _outcome_unknown(request: Request, error: CleanRoomsMLError) -> OutcomeUnknownError:
    why = error.code if isinstance(error, ServiceError) else str(error)
    name = request.members.get("name", "")
    return OutcomeUnknownError(
        lines(f"{request.operation.name} was sent and its outcome is unknown: it may have been carried out.", why),
        f"It is not sent again. Look in the listing{f' for {name!r}' if name else ''}: if it is there, use its ARN "
        '(if_exists="reuse" of the operator that creates it finds it by name); if it is not, clear the task.',
    )


__all__ = ["CleanRoomsMLHook"]
