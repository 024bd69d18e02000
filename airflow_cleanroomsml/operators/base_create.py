"""What operators that make something share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_cleanroomsml import clock, waiting
from airflow_cleanroomsml._compat import AirflowFailException
from airflow_cleanroomsml.exceptions import AlreadyExistsError, CleanRoomsMLError, OutcomeUnknownError, lines
from airflow_cleanroomsml.operators.base import CleanRoomsMLOperator
from airflow_cleanroomsml.resources import USABLE, Resource

if TYPE_CHECKING:
    from airflow_cleanroomsml.service_model import Request

#: Pauses before each look for what a lost answer may have made, in seconds.
_COMMIT_LAG = (1.0, 5.0)
#: Seconds by which the service's clock may be behind ours.
_SKEW = 300


class CleanRoomsMLCreateOperator(CleanRoomsMLOperator):
    """
    An operation that makes something with a name.

    :param if_exists: What to do about one of the same name (and parent): ``fail`` leaves it to the service to refuse; ``reuse``
        looks first and goes on with it.
    """

    resource: ClassVar[Resource]

    def __init__(self, *, if_exists: Literal["fail", "reuse"] = "fail", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.if_exists = if_exists

    def _submit(self) -> dict[str, Any]:
        if self.if_exists not in ("fail", "reuse"):
            raise AirflowFailException(f"if_exists: {self.if_exists!r} is unknown; allowed: fail, reuse")
        request = self.api.check(self.operation, self.request)
        asked = self._asked(request)
        found = self._existing(request, asked) if self.if_exists == "reuse" else None
        known = found or self._make(request, asked)
        self.log.info("%s the %s.", "Going on with" if found else "Made", waiting.titled(self.resource, known))
        return known

    def _asked(self, request: Request) -> dict[str, Any]:
        """What is known of the resource before it is made: the request, and what has to be looked up beside it."""
        return request.arguments

    def _make(self, request: Request, asked: Mapping[str, Any]) -> dict[str, Any]:
        made_after = clock.now() - _SKEW
        try:
            return {**self._identified(asked, self._answer(request)), "made_after": made_after}
        except AlreadyExistsError as error:
            raise self._with_owner(error, asked) from None
        except OutcomeUnknownError:
            found = self._after_all(request, asked) if self.if_exists == "reuse" else None
            if found is None:
                raise
            return found

    def _answer(self, request: Request) -> dict[str, Any]:
        answer = self._send(request)
        return _arguments(self.resource, answer)

    def _after_all(self, request: Request, asked: Mapping[str, Any]) -> dict[str, Any] | None:
        """What a request whose answer was lost has made; looked for more than once, for a commit may lag."""
        for pause in _COMMIT_LAG:
            clock.sleep(pause)
            if found := self._existing(request, asked):
                return found
        return None

    def _existing(self, request: Request, asked: Mapping[str, Any]) -> dict[str, Any] | None:
        """
        What identifies the newest of the same name that has not failed and is not being deleted.

        :raises AlreadyExistsError: It is not what the request asks for.
        """
        from airflow_cleanroomsml.differences import differences

        entries = waiting.listed(self.hook, self.resource, asked)
        entry = waiting.newest(entry for entry in entries if entry.get("status", "ACTIVE") in USABLE)
        if entry is None:
            return None
        known = self._identified(asked, _arguments(self.resource, _snake(entry)))
        there = waiting.read(self.hook, self.resource, known) or {}
        if different := differences(request, self.resource, there):
            first = "What has this name is not what is asked for:"
            raise AlreadyExistsError(lines(first, *different, waiting.titled(self.resource, known)))
        return known

    def _identified(self, asked: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
        """What identifies the resource and says more of it, from what is known of it and from what was asked for."""
        own = {name: known.get(name) or asked.get(name) for name in self.resource.identifiers}
        return {**{name: value for name, value in known.items() if value is not None}, **own}

    def _with_owner(self, error: AlreadyExistsError, asked: Mapping[str, Any]) -> AlreadyExistsError:
        """The same error with what stands in the way, where it can be seen."""
        try:
            found = waiting.newest(waiting.listed(self.hook, self.resource, asked))
        except CleanRoomsMLError:
            found = None
        if found is None:
            return error
        title = waiting.titled(self.resource, {**asked, **_arguments(self.resource, _snake(found))})
        status = f"{found['status']}, " if "status" in found else ""
        there = f"In the way, {status}made {found['createTime']:%Y-%m-%d %H:%M:%S %Z}: {title}"
        return AlreadyExistsError(
            lines(str(error), there), operation=error.operation, code=error.code, details=error.details
        )


def _snake(members: Mapping[str, Any]) -> dict[str, Any]:
    from botocore import xform_name

    return {xform_name(name): value for name, value in members.items()}


def _arguments(resource: Resource, members: Mapping[str, Any]) -> dict[str, Any]:
    """Members of a resource as the arguments that name it elsewhere."""
    from botocore import xform_name

    inner = members.get(xform_name(resource.within)) if resource.within else None
    found = _snake(inner) if inner is not None else dict(members)
    spelled = {xform_name(theirs): ours for ours, theirs in resource.spelling.items()}
    return {spelled.get(name, name): value for name, value in found.items()}
