"""
Waiting: one look at a resource, what it means, and when to look again.

The same steps serve the loop in the worker and the trigger: nothing here sleeps but :func:`watch`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_cleanroomsml import clock
from airflow_cleanroomsml.exceptions import (
    CleanRoomsMLError,
    JobFailedError,
    ResourceNotFoundError,
    ThrottledError,
    UnavailableError,
    UnreachableError,
    WaitTimeoutError,
    lines,
    without_request_id,
)
from airflow_cleanroomsml.resources import OUTCOMES, RESOURCES, Goal, Outcome, Resource

if TYPE_CHECKING:
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook
    from airflow_cleanroomsml.redaction import Redact

log = logging.getLogger(__name__)

#: Seconds for which "not found" after a create is taken for a read that lags.
LAG = 60.0
#: What the API calls the first version of a trained model (API reference, CreateTrainedModel).
BASE = "NULL"
#: By what a pause is longer or shorter.
JITTER = (0.9, 1.1)
#: Seconds after which one hears again of what has not changed.
TELL_AGAIN = 600.0
#: Pauses before each new attempt where a fault may pass, in seconds: a worker that is told to end has five in all (Airflow 3).
PAUSES = (0.5, 1.0)
#: What becomes of what nobody ends.
GOES_ON = "It goes on, and so does what it costs."
#: What may be over when one looks again.
PASSING = (ThrottledError, UnavailableError, UnreachableError)


class Wait(NamedTuple):
    """
    What is waited for, as plain values: it travels through the database to the triggerer and back.

    :param noun: Key of :data:`~airflow_cleanroomsml.resources.RESOURCES`.
    :param goal: ``created`` or ``deleted``.
    :param identifiers: The resource's identifying arguments.
    :param started: When the wait began, in seconds since 1970.
    :param deadline: When it ends, in seconds since 1970.
    :param delay: Longest pause between two looks, in seconds.
    :param made_after: Older ones of the same name are others, in seconds since 1970; for what has no ARN.
    :param lag: Seconds for which "not found" after a create is taken for a read that lags.
    :param on_kill: What is done about it when its task is ended: ``cancel``, ``delete``, or nothing.
    :param connection: How its task reached the service when the wait began, without what is None: templates of the connection's arguments
        may render to others when the task resumes. None in waits of releases that did not keep it.
    """

    noun: str
    goal: str
    identifiers: dict[str, Any]
    started: float
    deadline: float
    delay: float
    made_after: float = 0.0
    lag: float = LAG
    on_kill: str = ""
    connection: Mapping[str, Any] | None = None

    @property
    def resource(self) -> Resource:
        """The row of the resource table."""
        return RESOURCES[self.noun]

    @property
    def title(self) -> str:
        """What it is, in words."""
        return titled(self.resource, self.identifiers)

    def pause(self, now: float, jitter: float | None = None) -> float:
        """
        Seconds until the next look: a quarter of the time waited so far, from 1 second up to ``delay``.

        So a short job is seen soon, a long one is asked for ``delay`` seconds apart, and thousands of waits drift apart.

        :param jitter: Factor on it; None draws one.
        """
        pause = min(self.delay, max(1.0, (now - self.started) / 4)) * (jitter or random.uniform(*JITTER))
        return max(0.0, min(pause, self.deadline - now))

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return self._asdict()


class Observation(NamedTuple):
    """
    What one look showed.

    :param status: Status of the resource; empty where it is gone or could not be read.
    :param outcome: ``success``, ``failure`` or ``again``.
    :param status_code: ``statusDetails.statusCode``.
    :param message: ``statusDetails.message``, or why it could not be read.
    :param report: What else is known, as JSON in the API's own spelling.
    """

    status: str
    outcome: str
    status_code: str = ""
    message: str = ""
    report: Mapping[str, Any] = {}

    def after(self, before: Observation | None) -> Observation:
        """This one, with the status that was seen before where this look has failed."""
        failed = not self.status and self.outcome == Outcome.AGAIN.value
        return self._replace(status=before.status) if failed and before and before.status else self

    @property
    def reason(self) -> str:
        """Status code and message, or what there is of them."""
        return ": ".join(text for text in (self.status_code, self.message) if text)

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {**self._asdict(), "report": dict(self.report)}


def titled(resource: Resource, identifiers: Mapping[str, Any]) -> str:
    """A resource in words: by its ARN, or by its name where it has none."""
    return (
        f"{resource.noun} {identifiers[resource.identifiers[0]]}"
        if resource.has_own_identifier
        else f"{resource.noun} {identifiers['name']!r}"
    )


def observe(hook: CleanRoomsMLHook, wait: Wait, redact: Redact | None = None) -> Observation:
    """
    Look once.

    Throttling, a failing service and a lost connection are passing: "again".

    :param redact: How the service's texts are shown; without it what the resource's own description holds is taken out of them.
    :raises CleanRoomsMLError: Whatever else the service says, such as missing permissions.
    """
    found: Mapping[str, Any] | Exception | None
    try:
        found = read(hook, wait.resource, wait.identifiers, made_after=wait.made_after)
    except CleanRoomsMLError as error:
        found = error
    return judged(wait, found, redact)


def observe_patiently(hook: CleanRoomsMLHook, wait: Wait, redact: Redact | None = None) -> Observation:
    """The same, where there is no next look: a fault that passes is given a moment to."""
    observation = observe(hook, wait, redact)
    for pause in PAUSES:
        if observation.status or observation.outcome != Outcome.AGAIN.value:
            break
        clock.sleep(pause)
        observation = observe(hook, wait, redact)
    return observation


def judged(wait: Wait, found: Mapping[str, Any] | Exception | None, redact: Redact | None = None) -> Observation:
    """
    What a read means to a wait.

    :param found: The resource as it is described; why it could not be read; None where a listing does not show it.
    :param redact: As for :func:`observe`.
    :raises CleanRoomsMLError: Why it could not be read, unless that passes or means that it is gone.
    """
    if isinstance(found, ResourceNotFoundError):
        return _gone(wait, str(found))
    if isinstance(found, PASSING):
        return Observation("", Outcome.AGAIN.value, message=without_request_id(found))
    if isinstance(found, Exception):
        raise found
    if found is None:
        return _gone(wait, f"{wait.resource.list} does not show it")
    return _judged(wait, found, redact)


def read(
    hook: CleanRoomsMLHook, resource: Resource, identifiers: Mapping[str, Any], *, made_after: float = 0.0
) -> dict[str, Any] | None:
    """The resource as the service describes it now; None where a listing does not show it."""
    if resource.get is None:
        entries = listed(hook, resource, identifiers)
        return newest(entry for entry in entries if entry["createTime"].timestamp() >= made_after)
    found = read_latest(hook, resource, identifiers)
    if resource.versions and identifiers.get("version_identifier") == BASE:
        return _base_version(hook, resource, _asked(resource, identifiers), found)
    return found


def read_listed(
    hook: CleanRoomsMLHook, resource: Resource, identifiers: Mapping[str, Any], entry: dict[str, Any]
) -> dict[str, Any]:
    """
    The resource of an entry in a listing, as the service describes it now; the entry itself where there is no other description.

    :raises ResourceNotFoundError: It was deleted since it was listed.
    """
    return entry if resource.get is None else read(hook, resource, identifiers) or {}


def read_latest(hook: CleanRoomsMLHook, resource: Resource, identifiers: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of the resource's own read; of the latest version where the first or none is named."""
    answer = hook.of(resource.service).call(resource.get or "", _asked(resource, identifiers))
    found: dict[str, Any] = answer[resource.within] if resource.within else answer
    return found


def _asked(resource: Resource, identifiers: Mapping[str, Any]) -> dict[str, Any]:
    return {name: identifiers[name] for name in resource.identifiers if not _unset(identifiers.get(name))}


def _base_version(
    hook: CleanRoomsMLHook, resource: Resource, asked: Mapping[str, Any], latest: dict[str, Any]
) -> dict[str, Any] | None:
    """
    The first version under an ARN.

    A read without a version gives the latest one, and the name of the first is none that a request may carry (API reference).
    """
    if _unset(latest.get("versionIdentifier")) or not resource.versions:
        return latest
    return next(
        (entry for entry in hook.items(resource.versions, asked) if _unset(entry.get("versionIdentifier"))), None
    )


def listed(
    hook: CleanRoomsMLHook,
    resource: Resource,
    known: Mapping[str, Any],
    is_named: Callable[[str], bool] | None = None,
) -> Iterator[dict[str, Any]]:
    """
    Entries of a resource's listing that are what is known of it: its name, and what else makes it the one that is meant.

    :param known: Arguments in snake_case; what is not given may be anything.
    :param is_named: Whether a name will do; only the one that is known without it.
    """
    from botocore import xform_name

    given = {name: value for name, value in known.items() if not _unset(value)}
    same = resource.same if is_named else (resource.named, *resource.same)
    wanted = {resource.spelling.get(n, n): given[n] for n in same if n in given}
    for entry in hook.of(resource.service).items(resource.list, narrowed(resource, known)):
        has = {xform_name(name): value for name, value in entry.items()}
        if all(has.get(name) == value for name, value in wanted.items()) and (not is_named or is_named(has["name"])):
            yield entry


def narrowed(resource: Resource, known: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that narrow a listing to what is known of a resource."""
    return {name: known[name] for name in resource.narrow if not _unset(known.get(name))}


def identified(resource: Resource, asked: Mapping[str, Any], members: Mapping[str, Any]) -> dict[str, Any]:
    """
    What identifies a resource and says more of it, as the arguments that name it elsewhere.

    :param asked: What was asked for.
    :param members: What the service says of it: an answer or an entry of a listing, in either spelling.
    """
    known = _arguments(resource, members)
    own = {name: known.get(name) or asked.get(name) for name in resource.identifiers}
    return {**{name: value for name, value in known.items() if value is not None}, **own}


def _arguments(resource: Resource, members: Mapping[str, Any]) -> dict[str, Any]:
    from botocore import xform_name

    found = {xform_name(name): value for name, value in members.items()}
    inner = found.get(xform_name(resource.within)) if resource.within else None
    if inner is not None:
        found = {xform_name(name): value for name, value in inner.items()}
    spelled = {xform_name(theirs): ours for ours, theirs in resource.spelling.items()}
    return {spelled.get(name, name): value for name, value in found.items()}


def _unset(value: Any) -> bool:
    return value is None or value == BASE


def newest(entries: Iterator[dict[str, Any]]) -> dict[str, Any] | None:
    """The entry that was created last."""
    return max(entries, key=lambda entry: entry["createTime"], default=None)


def _gone(wait: Wait, message: str) -> Observation:
    if wait.goal == Goal.DELETED.value:
        return Observation("", Outcome.SUCCESS.value)
    lags = clock.now() - wait.started < wait.lag
    return Observation("", (Outcome.AGAIN if lags else Outcome.FAILURE).value, message=message)


def _judged(wait: Wait, found: Mapping[str, Any], redact: Redact | None) -> Observation:
    status = str(found.get("status", ""))
    outcome = OUTCOMES[Goal(wait.goal)].get(status)
    if outcome is None:
        log.warning("%s has the status %s, which this release does not know: waiting on.", wait.title, status)
    details = found.get("statusDetails") or {}

    def shown(text: str) -> str:
        return _shown(wait.resource, found, text, redact) if text else ""

    return Observation(
        status,
        (outcome or Outcome.AGAIN).value,
        details.get("statusCode") or "",
        shown(details.get("message") or ""),
        {
            name: shown(found[name]) if name.endswith("StatusDetails") else found[name]
            for name in wait.resource.reports
            if found.get(name) is not None
        },
    )


def _shown(resource: Resource, found: Mapping[str, Any], text: str, redact: Redact | None) -> str:
    """A text about a resource as it may be shown; of another member's resource too little is described."""
    from airflow_cleanroomsml.redaction import UNKNOWN, by_description
    from airflow_cleanroomsml.service_model import description

    return UNKNOWN if resource.partners else (redact or by_description)(description(resource), found, text)


def described(wait: Wait, observation: Observation, now: float | None = None) -> str:
    """
    One line for the log; what changes comes first, for viewers cut long lines off.

    :param now: The time, in seconds since 1970; None where it is not known when the wait began.
    """
    what = observation.status or ("Gone" if observation.outcome == Outcome.SUCCESS.value else "Not readable")
    reason = f" ({observation.reason})" if observation.reason else ""
    after = f" after {now - wait.started:.0f} s" if now is not None else ""
    return f"{what}{after}{reason}: {wait.title}"


def raise_unless_done(wait: Wait, observation: Observation, end: Callable[[], str] = lambda: GOES_ON) -> None:
    """
    Raise for whatever is not success.

    :param end: Does what is to be done when the deadline is over, and says what has become of it.
    :raises JobFailedError: It failed.
    :raises WaitTimeoutError: It has not ended, and the deadline is over.
    """
    if observation.outcome == Outcome.SUCCESS.value:
        return
    status = observation.status
    if observation.outcome == Outcome.FAILURE.value:
        is_so, reason = (
            f"is {status}" if status else "was not found",
            observation.reason or "The service gives no reason.",
        )
        raise JobFailedError(
            lines(f"The {wait.noun} {is_so}.", reason, wait.title),
            status=status or "not found",
            code=observation.status_code,
            reason=observation.message,
        )
    waited, was_so = f"{wait.deadline - wait.started:.0f} s", f"was still {status}" if status else "could not be read"
    raise WaitTimeoutError(
        lines(
            f"The {wait.noun} {was_so} after {waited}, when the time-out came. {end()}",
            observation.reason,
            wait.title,
            "To wait longer, set waiter_delay and waiter_max_attempts (their product is the time-out in seconds), and",
            "execution_timeout if there is one. A cleared task goes on with it if it still runs, and makes another if not.",
        )
    )


def watch(
    hook: CleanRoomsMLHook,
    wait: Wait,
    observation: Observation,
    redact: Redact | None = None,
    tell: Callable[[Observation], None] = lambda _: None,
) -> Observation:
    """
    Look again and again, in this thread, until the outcome is known or the deadline is over.

    :param observation: The look before.
    :param redact: As for :func:`observe`.
    :param tell: Hears of what has changed, and every ten minutes of what has not.
    """
    told = clock.now()
    while observation.outcome == Outcome.AGAIN.value and clock.now() < wait.deadline:
        clock.sleep(wait.pause(clock.now()))
        seen, observation = observation, observe(hook, wait, redact).after(observation)
        changed = (seen.status, seen.message) != (observation.status, observation.message)
        if changed or clock.now() - told >= TELL_AGAIN:
            told = clock.now()
            tell(observation)
    return observation
