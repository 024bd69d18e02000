"""The base of operators that create something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_cleanroomsml._data_report import remember
from airflow_cleanroomsml._requests.sensitive import hide
from airflow_cleanroomsml._resources import lookup
from airflow_cleanroomsml._resources.handle import Handle
from airflow_cleanroomsml._resources.table import Goal, Resource
from airflow_cleanroomsml._xcom import build_identity, push_identity
from airflow_cleanroomsml.exceptions import InvalidRequestError
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator, require_flags

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml._idempotency.attempts import AttemptLog
    from airflow_cleanroomsml._idempotency.create_once import CreateOnce
    from airflow_cleanroomsml._requests.request import Request
    from airflow_cleanroomsml._resources.data_flow import Data, DataFlow

#: How many tags a resource may have (service model).
_MAX_TAGS = 50


class CleanRoomsMLCreateOperator(CleanRoomsMLOperator):
    """
    An operation that creates a named resource.

    :param if_exists: What to do about a resource of the same name (and parent) that another run or person created: ``fail`` lets the
        service refuse the request; ``reuse`` looks for it first and uses it; ``update``, of a configured audience model, changes what
        differs.
    :param durable: Create at most one in a run of the task. A retry uses what an earlier try has created even if its arguments render to
        other values; a cleared task does so if they render to the same values. A tag identifies it; without the tag another one is created.
    """

    resource: ClassVar[Resource]
    goal: ClassVar[Goal] = Goal.CREATED
    #: Allowed values of ``if_exists``.
    choices: ClassVar[tuple[str, ...]] = ("fail", "reuse")

    def __init__(
        self, *, if_exists: Literal["fail", "reuse", "update"] = "fail", durable: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.if_exists = if_exists
        self.durable = durable

    def check_arguments(self) -> None:
        """Refuse arguments that are not valid; see the base."""
        super().check_arguments()
        if self.if_exists not in self.choices:
            raise InvalidRequestError(f"if_exists: {self.if_exists!r} is unknown; allowed: {', '.join(self.choices)}")
        require_flags(self, "durable")

    def build_search_arguments(self, request: Request) -> dict[str, Any]:
        """
        Return the arguments that identify the resource before it exists.

        :param request: The checked request; an operator may add what has to be looked up.
        """
        return request.arguments

    def build_identity(self, handle: Handle) -> dict[str, Any]:
        """Return what identifies the resource, by its XCom keys."""
        return build_identity(self.resource, self.arguments, handle.identifiers)

    def describe_data_flow(self) -> DataFlow:
        """Describe what the request names, and what was created from it."""
        from airflow_cleanroomsml._resources.data_flow import DataFlow, find_data

        # A retry, or a task that resumes after a deferral, may have rendered other arguments than those that created the resource.
        inputs = self._find_request_data() if self.data_sources is None else self.data_sources
        outputs = [data for data in find_data(self.data_members) if data not in inputs]
        return DataFlow(inputs, outputs, members=self.data_members)

    def update_existing(self, request: Request, handle: Handle, description: Mapping[str, Any]) -> None:
        """
        Change an existing resource to what the request asks for, with ``if_exists="update"``.

        :param description: How the service describes it now.
        """
        # check_arguments() refuses "update" unless the class lists it among its choices, and such a class overrides this method.
        raise NotImplementedError(f"{type(self).__name__} cannot update")

    def _perform(self, context: Context) -> Handle:
        return self._create(context, self._build_create_once(context))

    def _create(self, context: Context, create_once: CreateOnce, **options: Any) -> Handle:
        if previous := create_once.recall():
            # Airflow clears XCom when a try starts. This try may fail before it has found the resource again, but a task that cleans up
            # needs it.
            self._push_identity(context, previous)
        handle = create_once.run(**options)
        reused = create_once.previous.reused
        is_changed = reused is not None and not reused.same and self.if_exists != "update"
        self.data_sources = self._find_described_data(reused.description) if reused and is_changed else None
        # Before the wait, so that a task that cleans up finds the resource even if this task fails.
        self._push_identity(context, handle)
        verb = "Created" if create_once.created is handle else "Using"
        self.log.info("%s the %s", verb, lookup.describe(self.resource, handle.identifiers))
        return handle

    def _complete(self, context: Context, handle: Handle) -> Any:
        # Only a running task needs it, not the Dag processor.
        from airflow_cleanroomsml._waiting.results import push_outputs

        outputs = push_outputs(self, context, self.resource, {**handle.response, **handle.identifiers})
        return self.report_result(context, handle.identifiers, outputs)

    def _push_identity(self, context: Context, handle: Handle) -> None:
        """Push what identifies the resource to XCom, where it stays if the task fails, and the links to it."""
        identity = self.build_identity(handle)
        # The identity may have more than the identifiers, such as an ARN. That of an export has its identifiers once more.
        remember(self, {**handle.set_identifiers, **(identity if self.resource.has_own_identifier else {})})
        push_identity(self, context, identity)
        from airflow_cleanroomsml._link_storage import store_result_links

        store_result_links(self, context, {**handle.response, **handle.identifiers})

    def _find_described_data(self, description: Mapping[str, Any]) -> list[Data]:
        """Find the data that a resource was created from, as the service describes the resource."""
        from airflow_cleanroomsml._requests.request import find_description_shape
        from airflow_cleanroomsml._resources.data_flow import find_data

        members = hide(find_description_shape(self.resource), description)
        described = lookup.build_handle(self.resource, {}, members)
        values = {**described.response, **described.set_identifiers}
        return find_data({name: values[name] for name in self.arguments if name in values})

    def _restore_noted_connection(self, attempt_log: AttemptLog) -> None:
        noted, rendered = attempt_log.recall_connection(), self.rendered_connection
        if noted is None or noted == rendered:
            return
        changed = [name for name in self.connection_fields if noted.get(name) != rendered.get(name)]
        self.log.warning(
            "This retry uses the connection arguments of an earlier try, which may have created something with them. Since then these "
            "have rendered to other values: %s. To use the new values, clear the task once it has ended.",
            ", ".join(changed),
        )
        self.restore_connection(noted)

    def _build_create_once(self, context: Context, *, has_searched: bool = False) -> CreateOnce:
        """
        Check the request, and prepare to send it.

        :param has_searched: Whether this try has searched before, and has sent nothing since.
        """
        # Imported on demand: these modules import botocore, which a Dag file must not load (ARCHITECTURE.md, Layers).
        from airflow_cleanroomsml._idempotency.attempts import AttemptLog, read_current_attempt, read_run_start
        from airflow_cleanroomsml._idempotency.claim import make_claim
        from airflow_cleanroomsml._idempotency.create_once import CreateOnce
        from airflow_cleanroomsml._idempotency.previous_tries import PreviousTries
        from airflow_cleanroomsml._idempotency.reusable import ReusableSearch

        attempt_log = AttemptLog(context, "", enabled=self.durable)
        # Before the hook is made: a retry searches where the earlier try has sent.
        self._restore_noted_connection(attempt_log)
        request = self.api.check(self.operation, self.request)
        # From the checked request, in which "25" and 25 are the same: another spelling of an argument must not create another resource.
        claim = make_claim(context, request) if self.durable else None
        if claim:
            attempt_log.fingerprint, attempt_log.connection = claim.fingerprint, self.rendered_connection
        # The service would refuse the request, too, but its error would count a tag that the Dag does not contain.
        if claim and self.resource.has_readable_tags and len(request.members.get("tags", ())) >= _MAX_TAGS:
            raise InvalidRequestError(
                f"tags: too many; a resource may have {_MAX_TAGS}, and with durable=True the provider adds one of them, so set at most "
                f"{_MAX_TAGS - 1}. Nothing was sent."
            )
        search = ReusableSearch(
            self.hook,
            self.resource,
            request,
            self.build_search_arguments(request),
            claim,
            read_current_attempt(context),
            self.retries or 0,
            read_run_start(context),
        )

        def update(handle: Handle, description: Mapping[str, Any]) -> None:
            # The service may refuse the change, and a task that cleans up needs the resource then, too.
            self._push_identity(context, handle)
            self.update_existing(request, handle, description)

        return CreateOnce(PreviousTries(search, attempt_log, has_searched), self._send, self.if_exists, update)
