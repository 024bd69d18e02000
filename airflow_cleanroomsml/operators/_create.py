"""What operators that make something share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_cleanroomsml._resources import lookup
from airflow_cleanroomsml._resources.table import USABLE, Resource
from airflow_cleanroomsml._xcom import identity, push_identity
from airflow_cleanroomsml.exceptions import (
    AccessDeniedError,
    AlreadyExistsError,
    CleanRoomsMLError,
    InvalidRequestError,
    OutcomeUnknownError,
    OutcomeUnsettledError,
    ResourceNotFoundError,
    lines,
)
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml._idempotency.create_once import CreateOnce
    from airflow_cleanroomsml._requests.request import Request

_TAGS = 50


def is_first(context: Context) -> bool:
    """Whether no earlier try of the task can have made anything."""
    return bool(getattr(context.get("ti"), "try_number", 1) <= 1)


class CleanRoomsMLCreateOperator(CleanRoomsMLOperator):
    """
    An operation that makes something with a name.

    :param if_exists: What to do about one of the same name (and parent) that is not of this run: ``fail`` leaves it to the service to
        refuse; ``reuse`` looks first and goes on with it; ``update``, of a configured audience model, changes what differs.
    :param durable: Make it at most once in a run of the task: a retry goes on with what an earlier try has made, even if its arguments
        render differently, and a cleared task does if they are the same. It is told by a tag, and where that is missing made anew.
    """

    resource: ClassVar[Resource]
    #: What ``if_exists`` may be.
    choices: ClassVar[tuple[str, ...]] = ("fail", "reuse")

    def __init__(
        self, *, if_exists: Literal["fail", "reuse", "update"] = "fail", durable: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.if_exists = if_exists
        self.durable = durable

    def _prepare(self) -> None:
        super()._prepare()
        if self.if_exists not in self.choices:
            raise InvalidRequestError(f"if_exists: {self.if_exists!r} is unknown; allowed: {', '.join(self.choices)}")
        self._require_flags("durable")

    def execute(self, context: Context) -> Any:
        """Make it, or go on with what is there; see the class for what is returned."""
        self._prepare()
        return self._complete(context, self._created(context))

    def _created(self, context: Context) -> dict[str, Any]:
        making = self._making(context)
        if remembered := (making.memory.recall() or {}).get("known"):
            # Airflow clears XCom when a try starts, and this try may fail before it has found the resource again.
            self._push_identity(context, remembered)
        known = self._earlier(making) or self._others(making) or self._made(making)
        self._push_identity(context, known)
        verb = "Created" if making.sent == known else "Using"
        self.log.info("%s the %s.", verb, lookup.describe(self.resource, known))
        return known

    def _push_identity(self, context: Context, known: Mapping[str, Any]) -> None:
        """Push what identifies the resource to XCom, where it stays if the task fails."""
        push_identity(self, context, self._identity(known))

    def _identity(self, known: Mapping[str, Any]) -> dict[str, Any]:
        return identity(self.resource, self.arguments, known)

    def _earlier(self, making: CreateOnce) -> dict[str, Any] | None:
        """What an earlier try has made; changed to what is asked for by now, where that is wanted."""
        found, reused = making.earlier(), making.reused
        if found and reused and not reused.same and self.if_exists == "update":
            self._agree(making.request, found, reused.there)
        return found

    def _making(self, context: Context) -> CreateOnce:
        from airflow_cleanroomsml._idempotency.attempts import current_attempt, run_start
        from airflow_cleanroomsml._idempotency.create_once import CreateOnce
        from airflow_cleanroomsml._idempotency.owned import AttemptLog, claim

        request = self.api.check(self.operation, self.request)
        mine = claim(context, request) if self.durable else None
        if mine and self.resource.has_readable_tags and len(request.members.get("tags", ())) >= _TAGS:
            raise InvalidRequestError(
                f"tags: a resource may have {_TAGS}; with durable=True the provider adds one of them"
            )
        memory = AttemptLog(context, mine)
        return CreateOnce(
            self.hook,
            self.resource,
            request,
            self._asked(request),
            mine,
            memory,
            current_attempt(context),
            run_start=run_start(context),
        )

    def _asked(self, request: Request) -> dict[str, Any]:
        """What is known of the resource before it is made: the request, and what has to be looked up beside it."""
        return request.arguments

    def _others(self, making: CreateOnce) -> dict[str, Any] | None:
        """One of the same name, whoever made it, where that is asked for."""
        return None if self.if_exists == "fail" else self._existing(making)

    def _made(self, making: CreateOnce) -> dict[str, Any]:
        while True:
            taken = len(making.taken)
            try:
                return self._sent(making)
            except AlreadyExistsError as error:
                if found := making.look_after_conflict():
                    return found
                if len(making.taken) == taken:
                    if found := self._others_after_conflict(making):
                        return found
                    raise self._with_owner(error, making) from None
            except OutcomeUnknownError as error:
                return self._after_all(making, error)
            except AccessDeniedError as error:
                raise self._with_permissions(error, making) from None

    def _others_after_conflict(self, making: CreateOnce) -> dict[str, Any] | None:
        """What is in the way, where it may be gone on with: the listing lagged, or another task was a moment faster."""
        from airflow_cleanroomsml._idempotency.create_once import COMMIT_LAG

        return None if self.if_exists == "fail" else making.looked_for(COMMIT_LAG, lambda: self._others(making))

    def _sent(self, making: CreateOnce) -> dict[str, Any]:
        return making.send(self._send)

    def _after_all(self, making: CreateOnce, error: OutcomeUnknownError) -> dict[str, Any]:
        """
        What a request whose answer was lost has made.

        :raises OutcomeUnsettledError: Nothing shows; the next try looks again.
        """
        from airflow_cleanroomsml._idempotency.create_once import COMMIT_LAG

        if not making.mine and self.if_exists == "fail":
            raise error
        found = making.looked_for(COMMIT_LAG, lambda: self._others(making))
        if found:
            return found
        if not making.mine:
            raise error
        advice = "It is not visible yet. The request is not sent again now: a retry, or clearing the task, looks for it first."
        raise OutcomeUnsettledError(lines(error.summary, advice)) from None

    def _existing(self, making: CreateOnce) -> dict[str, Any] | None:
        """
        What identifies the newest of the same name that has not failed and is not being deleted.

        What this run has made by other arguments may be changed, and is not reused.

        :raises AlreadyExistsError: It is not what the request asks for.
        """
        entries = [
            entry
            for entry in lookup.listed(self.hook, self.resource, making.asked)
            if entry.get("status", "ACTIVE") in USABLE
            and not (
                self.if_exists == "reuse"
                and making.leaves(lookup.build_identifiers(self.resource, making.asked, entry))
            )
        ]
        for entry in sorted(entries, key=lambda entry: entry["createTime"], reverse=True):
            known = lookup.build_identifiers(self.resource, making.asked, entry)
            try:
                there = lookup.read_entry(self.hook, self.resource, known, entry)
            except ResourceNotFoundError:
                continue  # deleted since it was listed
            self._agree(making.request, known, there)
            return known
        return None

    def _agree(self, request: Request, known: Mapping[str, Any], there: Mapping[str, Any]) -> None:
        """
        Make sure that what is there is what is asked for.

        :raises AlreadyExistsError: It is not.
        """
        from airflow_cleanroomsml._resources.diff import differences

        if different := differences(request, self.resource, there):
            first = "The existing resource of this name differs from the request:"
            raise AlreadyExistsError(lines(first, *different, lookup.describe(self.resource, known)))

    def _with_owner(self, error: AlreadyExistsError, making: CreateOnce) -> AlreadyExistsError:
        """The same error with what stands in the way, where it can be seen."""
        try:
            found = lookup.newest(lookup.listed(self.hook, self.resource, making.asked))
        except CleanRoomsMLError:
            found = None
        if found is None:
            return error
        known = lookup.build_identifiers(self.resource, making.asked, found)
        status = f"{found['status']}, " if "status" in found else ""
        made = f"{found['createTime']:%Y-%m-%d %H:%M:%S %Z}{self._by(known)}"
        there = f"Already there, {status}created {made}: {lookup.describe(self.resource, known)}"
        return AlreadyExistsError(
            lines(str(error), there), operation=error.operation, code=error.code, details=error.details
        )

    def _by(self, known: Mapping[str, Any]) -> str:
        from airflow_cleanroomsml._idempotency.owned import owner

        try:
            run = owner(self.hook, self.resource, known)
        except CleanRoomsMLError:
            run = ""
        return f" by the Airflow task {run}" if run else ""

    def _with_permissions(self, error: AccessDeniedError, making: CreateOnce) -> AccessDeniedError:
        """The same error with how to go without a tag of ours."""
        if not making.mine or not self.resource.has_readable_tags or "tags" in making.request.members:
            return error
        advice = "The request carries a tag so that no retry creates another one; without permission to tag, set durable=False."
        return AccessDeniedError(
            lines(str(error), advice), operation=error.operation, code=error.code, details=error.details
        )
