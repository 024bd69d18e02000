"""The hook: every request goes through :meth:`CleanRoomsMLHook.send`, every listing through :meth:`CleanRoomsMLHook.pages`."""

from __future__ import annotations

import inspect
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from copy import copy
from functools import partial
from typing import Any

import boto3
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.config import Config
from botocore.exceptions import ClientError

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._compat import (
    AirflowException,
    BaseOperator,
    cached,
    compute_property,
    intercept_responses,
    name_caller,
)
from airflow_cleanroomsml._connection.arguments import convert_connection
from airflow_cleanroomsml._connection.client_factory import explain_errors, log_in, make_client, mask_urls
from airflow_cleanroomsml._connection.client_options import make_config
from airflow_cleanroomsml._connection.regions import require_region
from airflow_cleanroomsml._connection.responses import (
    NoAnswerError,
    add_quota,
    build_proxy_error,
    mark_other_types,
    read_service_time,
    require_complete,
)
from airflow_cleanroomsml._connection.send_errors import build_outcome_unknown, explain_unsent
from airflow_cleanroomsml._connection.transport import Stage, describe_error, find_stage, is_lost
from airflow_cleanroomsml._connection.validation import (
    check_connection,
    check_session,
    find_unusable_file,
    find_unusable_proxy,
    wrap_connection,
)
from airflow_cleanroomsml._requests.permissions import list_actions
from airflow_cleanroomsml._requests.request import Request, load
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS, CLEAN_ROOMS_ML
from airflow_cleanroomsml.exceptions import (
    CleanRoomsMLError,
    ThrottledError,
    UnavailableError,
    join_lines,
    service_error,
)

#: Maximum number of times that a throttled create or start is sent again, and the longest pause, in seconds. The service accepts one start
#: a second (user guide, Quotas), so with eight pauses of up to 20 s about a hundred tasks can start at the same time.
_THROTTLED_RETRIES = 8
_LONGEST_PAUSE = 20.0


def find_calling_operator() -> str:
    """Find the name of the operator on the stack."""
    frame = inspect.currentframe()
    while frame is not None:
        # A frame may have no "self", or one whose class raises an error; neither may prevent the client from being made.
        with suppress(Exception):
            kind = type(frame.f_locals["self"])
            if issubclass(kind, BaseOperator):
                return kind.__name__
        frame = frame.f_back
    return "Unknown"


@name_caller(find_calling_operator)
class CleanRoomsMLHook(AwsBaseHook):
    """
    AWS Clean Rooms ML through boto3.

    :param aws_conn_id: Airflow connection of type ``aws``; None uses boto3's own credentials.
    :param region_name: AWS region.
    :param verify: Whether to verify TLS, or the path of a CA bundle.
    :param config: A ``botocore.config.Config``, or its arguments as a dictionary. A create or start is sent once, whatever ``retries``
        says.
    :param service: boto3's name of the service: ``cleanroomsml``, or ``cleanrooms``, which has the collaborations.
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
        self._connection_arguments, left_out = convert_connection(
            aws_conn_id=aws_conn_id, region_name=region_name, verify=verify, botocore_config=config
        )
        super().__init__(
            aws_conn_id=self._connection_arguments["aws_conn_id"],
            region_name=self._connection_arguments["region_name"],
            verify=self._connection_arguments["verify"],
            config=make_config(self._connection_arguments["botocore_config"]),
            client_type=service,
        )
        # The copies for other services share this dictionary, so that each service has one hook.
        self._hooks = {service: self}
        for name in left_out:
            default = "boto3's own credentials" if name == "aws_conn_id" else "the default"
            self.log.warning('%s rendered to "None"; using %s.', name, default)

    def of(self, service: str) -> CleanRoomsMLHook:
        """
        Return the hook of another service, over the same session.

        :param service: boto3's name, ``cleanroomsml`` or ``cleanrooms``.
        """
        if service not in self._hooks:
            # Computed before the copy, which then shares them: one login and one read of the connection serve both services.
            _ = self._session, self.conn_config
            other = copy(self)
            other.client_type = service
            # The copy must not inherit this service's clients.
            for client in ("conn", "conn_once"):
                vars(other).pop(client, None)
            self._hooks[service] = other
        return self._hooks[service]

    # Reading the connection and logging in may hang, so neither holds the lock that the amazon provider's own properties share.
    @cached
    def conn_config(self) -> Any:
        """
        The connection, as the amazon provider wraps it.

        :raises ConfigurationError: It is not valid, or an argument is not.
        """
        return wrap_connection(lambda: compute_property(AwsBaseHook, "conn_config", self), self._connection_arguments)

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
        check_session(session, self.conn_config)
        # On the session, because botocore copies its event handlers to every client that it makes.
        intercept_responses(session, CLEAN_ROOMS_ML, add_quota)
        for service in (CLEAN_ROOMS, CLEAN_ROOMS_ML):
            intercept_responses(session, service, mark_other_types)
        return session

    def get_session(self, region_name: str | None = None, deferrable: bool = False) -> Any:
        """Return one session for both clients: a second one would read the service's data files again."""
        # The amazon provider's own callers may ask for an asynchronous session or another region, which our session cannot provide.
        is_other = region_name not in (None, self.region_name)
        if is_other:
            require_region(region_name, "region_name")
        if deferrable or is_other:
            return super().get_session(region_name=region_name, deferrable=deferrable)
        return self._session

    def get_client_type(
        self, region_name: str | None = None, config: Config | None = None, deferrable: bool = False
    ) -> Any:
        """
        Make a client and fetch its credentials.

        :raises ConfigurationError: Its configuration is not valid.
        :raises CleanRoomsMLError: Credentials cannot be fetched.
        """
        make = partial(super().get_client_type, region_name, config, deferrable)
        return make() if deferrable else make_client(self, self.get_session(region_name), make)

    @property
    def _reader(self) -> Any:
        """The client for requests that may be sent again."""
        return self.conn

    @cached
    def conn_once(self) -> Any:
        """The client for creates and starts: by default, botocore would send them again after a dropped connection."""
        # A client takes time and memory, so one that never retries serves both purposes.
        if (getattr(self.config, "retries", None) or {}).get("total_max_attempts") == 1:
            return self.conn
        # Takes precedence over max_attempts and over boto3's environment variable (botocore.config.Config).
        once = Config(retries={"total_max_attempts": 1})
        return self.get_client_type(region_name=self.region_name, config=self.config.merge(once))

    def check(self, operation: str, arguments: Mapping[str, Any] | None = None) -> Request:
        """
        Check a request without sending it; neither credentials nor the service are needed.

        :param operation: boto3's method name, for instance ``create_audience_model``.
        :param arguments: Arguments in snake_case, nested values in the API's own spelling; members that are None are omitted.
        :raises InvalidRequestError: The request breaks the service model.
        """
        # The model of botocore's files, because making a client would need a region and credentials.
        request = Request(load(self.service_name), operation, arguments or {})
        request.raise_for_violations()
        for warning in request.warnings:
            self.log.warning("%s: %s.", request.operation.name, warning)
        for path in request.left_out:
            self.log.warning('%s: %s rendered to "None"; omitting it.', request.operation.name, path)
        return request

    def send(self, request: Request, *, throttled_retries: int = _THROTTLED_RETRIES) -> dict[str, Any]:
        """
        Send a request; return the response without botocore's metadata.

        :param throttled_retries: Maximum number of times that a throttled create or start is sent again, after growing pauses.
        :raises CleanRoomsMLError: See :mod:`airflow_cleanroomsml.exceptions`.
        """
        response: dict[str, Any] = (
            self._send_once(request, throttled_retries)
            if request.is_sent_once
            else self._send_any(lambda: self._reader, request)
        )
        request.answered_at = read_service_time(response.pop("ResponseMetadata", {}))
        return response

    def call(self, operation: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Check a request and send it; return the response: :meth:`check` and :meth:`send`."""
        return self.send(self.check(operation, arguments))

    def call_all_pages(self, operation: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """
        Call any operation; merge all pages of a listing, unless the arguments ask for one page by its token.

        :param operation: boto3's method name.
        :param arguments: Arguments in snake_case.
        """
        request = self.check(operation, arguments)
        if "nextToken" in request.members or not self._call_boto3(
            request, lambda: self._reader.can_paginate(operation)
        ):
            return self.send(request)
        # Not botocore's build_full_result(): each page must be checked for being the service's, and a proxy's page would end the listing.
        response: dict[str, Any] = {}
        for page in self._pages(request):
            for name, value in page.items():
                response[name] = [*response.get(name, ()), *value] if isinstance(value, list) else value
        response.pop("nextToken", None)
        response.pop("ResponseMetadata", None)
        return response

    def pages(self, operation: str, arguments: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """
        Iterate over the pages of a listing; each is read on demand.

        :param operation: boto3's method name, for instance ``list_audience_models``.
        :param arguments: Arguments in snake_case.
        """
        yield from self._pages(self.check(operation, arguments))

    def _pages(self, request: Request) -> Iterator[dict[str, Any]]:
        pages = self._call_boto3(
            request, lambda: iter(self._reader.get_paginator(request.method).paginate(**request.members))
        )
        # The pages are requested by next(), so it is next() whose errors have to be translated.
        while (page := self._call_boto3(request, lambda: next(pages, None))) is not None:
            yield require_complete(request, page)

    def items(self, operation: str, arguments: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """Iterate over the entries of a listing, on all its pages; parameters as for :meth:`pages`."""
        for page in self.pages(operation, arguments):
            for value in page.values():
                if isinstance(value, list):
                    yield from value

    def _send_once(self, request: Request, throttled_retries: int) -> Any:
        """Send a request that must not take effect twice; send it again only if the service throttled it."""
        # Before the first attempt: what fails here was certainly not sent, so the task may be retried without a search.
        client = self._log_in(request)
        for pause in (*_plan_pauses(throttled_retries), None):
            try:
                return self._send_any(lambda: client, request)
            except ThrottledError:
                if pause is None:
                    raise
                # Throttling is a refusal: the service has created nothing, so it is safe to send the request again.
                self.log.info("%s was throttled; trying again in %.1f s.", request.operation.name, pause)
                _clock.sleep(pause)
            # The service may have carried out the request before it failed with a 5xx error, so that is not a refusal.
            except (NoAnswerError, UnavailableError) as error:
                raise build_outcome_unknown(request, error) from error
        # Not reached, because the last attempt has no pause after it and raises.
        raise AssertionError

    def _log_in(self, request: Request) -> Any:
        """Return the client, with fresh credentials: if the request refreshed them, a failed refresh would look like a failed request."""
        client = self.conn_once
        log_in(self, self._session)
        return client

    def _send_any(self, client: Callable[[], Any], request: Request) -> Any:
        response = self._call_boto3(request, lambda: getattr(client(), request.method)(**request.members))
        return require_complete(request, response)

    def _call_boto3(self, request: Request, send: Callable[[], Any]) -> Any:
        """
        Call boto3; raise botocore's errors as errors of this package.

        They have neither cause nor context, because botocore's error keeps the service's text, and SQL engines quote the query.
        """
        # Python makes an error that is being handled the context of each new one. It is passed on to be ignored, as it is not the cause.
        name, handled = request.operation.name, sys.exc_info()[1]
        try:
            return send()
        except ClientError as error:
            raised: CleanRoomsMLError = build_proxy_error(name, error.response) or service_error(
                name, error.response, request.redact, list_actions(request.operation, request.members)
            )
        # Making the client reads the connection and logs in, whose errors are translated already.
        except AirflowException:
            raise
        except Exception as error:
            raised = self._explain_failure(
                name, error, request.redact(describe_error(error)), handled, once=request.is_sent_once
            )
        raise raised

    def explain_failed_read(self, name: str, error: Exception) -> CleanRoomsMLError:
        """
        Build the error for a read of any service of AWS that got no answer; boto3's own text may quote credentials.

        :param name: What was sent, for the message.
        :param error: What boto3 raised, other than ``ClientError``.
        """
        return self._explain_failure(name, error, describe_error(error), None, once=False)

    def _explain_failure(
        self, name: str, error: Exception, why: str, handled: BaseException | None, *, once: bool
    ) -> CleanRoomsMLError:
        stage, why = find_stage(error, handled), mask_urls(why, self)
        if stage is not Stage.SENT:
            return explain_unsent(name, error, why, stage, handled, self._find_unusable_file, self._find_unusable_proxy)
        if once or is_lost(error, handled):
            return NoAnswerError(join_lines(f"{name} got no readable response.", why))
        return CleanRoomsMLError(join_lines(f"{name} failed.", why))

    def _find_unusable_file(self) -> str:
        return find_unusable_file(self.conn_config, self._connection_arguments, self._session)

    def _find_unusable_proxy(self) -> str:
        # A client that exists: making one logs in, and an error of that would replace the one that is explained. Without one, another
        # service of AWS was called, whose endpoint is not known here.
        clients = [vars(self)[name] for name in ("conn_once", "conn") if name in vars(self)]
        return find_unusable_proxy(self.config, clients[0].meta.endpoint_url if clients else "https://amazonaws.com")


def _plan_pauses(times: int) -> list[float]:
    """Return the seconds before each new attempt."""
    # With jitter, because mapped tasks that were throttled together would otherwise retry together.
    return [random.uniform(0.5, 1) * min(_LONGEST_PAUSE, 2.0**attempt) for attempt in range(times)]


__all__ = ["CleanRoomsMLHook"]
