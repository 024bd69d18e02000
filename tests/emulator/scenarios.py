"""
What can happen to a task of each class, and which of its documented permissions the task then needs.

A situation has two parts: a caller with all permissions prepares it, then the task runs with a role that has only the documented
permissions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from airflow_cleanroomsml import operators, sensors
from airflow_cleanroomsml._compat import TaskDeferred
from airflow_cleanroomsml._requests.permissions import PASS_ROLE
from airflow_cleanroomsml._requests.request import find_operation, load
from airflow_cleanroomsml.emulator.faults import Fault
from airflow_cleanroomsml.exceptions import AlreadyExistsError, JobFailedError, WaitTimeoutError
from airflow_cleanroomsml.operators._create import CleanRoomsMLCreateOperator
from airflow_cleanroomsml.sensors._base import CleanRoomsMLBaseSensor
from tests.emulator.arguments import (
    ARGUMENTS,
    PARTNER,
    Arguments,
    build_promotion_arguments,
    build_pruning_arguments,
    create_association,
    create_checked_dataset,
    create_second_version,
)
from tests.helpers.exported_classes import WAITING
from tests.properties.observed_emulator import Laboratory
from tests.properties.operator_cases import KINDS
from tests.support import TaskInstance, resume
from tools.permissions import (
    ALWAYS,
    ATHENA,
    BASE_VERSION,
    CANCEL,
    COMPARES,
    DATASET,
    DELETE,
    DELETES,
    FAILED_QUERY,
    FILES,
    FOREIGN_MODEL,
    JOB,
    MANAGED_POLICY,
    NAME_IN_USE,
    OTHER_SERVICES,
    OWN,
    PARTITIONED,
    PARTNERS,
    RETRY,
    REUSE,
    SEED_IN_S3,
    TAG,
    UPDATE,
    VERSIONS,
    WAIT,
    WAIT_FOR_DELETION,
    Case,
    argument_case,
    group_permissions,
)

_OTHER_SERVICE_PREFIXES = tuple(f"{service}:" for service in OTHER_SERVICES)
Steps = Generator[None, None, None]
#: Settings of the emulator with which a job takes a while, and with which it never ends.
SLOW_JOBS = {"progress_seconds": 100.0}
ENDLESS_JOBS = {"progress_seconds": 1e9}


class IncompleteMessageError(Exception):
    """The task behaved as it should, but its message lacks details that it was not allowed to read."""


class Task:
    """
    A task in one Dag run, executed as many times as the situation requires.

    :param lab: The emulator that it calls.
    :param cls: Operator or sensor class of the task.
    :param arguments: Arguments of the class.
    """

    def __init__(self, lab: Laboratory, cls: type[Any], arguments: Arguments) -> None:
        self.lab, self.cls, self.arguments = lab, cls, arguments
        self._ti = TaskInstance()

    @property
    def api_operation(self) -> str:
        """The name of the operation in the API."""
        return find_operation(load(self.cls.service), self.cls.operation).name

    def run(self, meanwhile: Callable[[], object] = lambda: None, **more: Any) -> Any:
        """
        Run the next try, and return its result.

        :param meanwhile: Called while the task is deferred, after the clock has advanced.
        :param more: Arguments of this try.
        """
        operator = self.cls(task_id="task", **{**self.arguments, **more})
        # Shared by all tries, because a new hook reads the data files of the service.
        vars(operator)["hook"] = self.lab.hook
        context: Any = {"params": {}, "ti": self._ti}
        self._ti = self._ti.make_next_try()
        step = partial(operator.execute, context)
        while True:
            try:
                return json.loads(json.dumps(step()))
            except TaskDeferred as deferred:
                self.lab.clock.advance(10_000)
                meanwhile()
                step = partial(resume, operator, deferred, context)

    def run_in_another_run(self) -> Any:
        """Run the same task in another Dag run, and return its result."""
        return Task(self.lab, self.cls, self.arguments).run()


@dataclass(frozen=True)
class Situation:
    """
    What happens to a task, and which permissions that needs.

    :param cls: Class of the task.
    :param title: Description, which completes "the task …".
    :param steps: Prepares the situation, yields, and runs the task.
    :param arguments: Creates what the task needs, and returns its arguments.
    :param cases: Documented cases whose permissions suffice, besides those that are always needed.
    :param proves: Cases each of whose permissions is needed.
    :param settings: Settings of the emulator.
    :param without: Actions that the role does not need.
    """

    cls: type[Any]
    title: str
    steps: Callable[[Task], Steps]
    arguments: Callable[[Laboratory], Arguments]
    cases: tuple[Case, ...] = ()
    proves: tuple[Case, ...] = (ALWAYS,)
    settings: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()

    @property
    def allowed(self) -> list[str]:
        """The actions that suffice."""
        return [action for action in self._list_actions(ALWAYS, *self.cases) if action not in self.without]

    @property
    def proven(self) -> list[str]:
        """The actions each of which is needed."""
        return [action for action in self._list_actions(*self.proves) if action not in self.without]

    def _list_actions(self, *cases: Case) -> list[str]:
        listed = group_permissions(self.cls)
        actions = dict.fromkeys(action for case in cases for action in listed.get(case, ()))
        # The emulator evaluates no actions of other services; test_role.py does that with moto.
        return [action for action in actions if action == PASS_ROLE or not action.startswith(_OTHER_SERVICE_PREFIXES)]

    def play(self, lab: Laboratory, actions: Collection[str]) -> set[str]:
        """
        Run the situation with a role.

        :param actions: Actions that the role allows.
        :return: Actions that the requests needed, allowed or not.
        :raises Exception: The actions do not suffice.
        """
        lab.begin(**self.settings)
        steps = self.steps(Task(lab, self.cls, self.arguments(lab)))
        next(steps)
        lab.emulator.shared.permissions.clear()
        lab.emulator.allow(lab.world.account, *actions)
        try:
            next(steps, None)
        finally:
            lab.emulator.allow_everything(lab.world.account)
        return set(lab.emulator.read_permissions(lab.world.account)["needed"])


def run_once(task: Task, **more: Any) -> Steps:
    yield
    task.run(**more)


def _retry(task: Task) -> Steps:
    first = task.run()
    yield
    assert task.run() == first


def _lose_response(task: Task) -> Steps:
    yield
    task.lab.set_faults(Fault(task.api_operation, "lose_response"))
    task.run()


def _find_resource_of_another_run(task: Task, **more: Any) -> Steps:
    first = task.run_in_another_run()
    yield
    assert task.run(**more) == first


def _find_name_in_use(task: Task) -> Steps:
    task.run_in_another_run()
    yield
    with pytest.raises(AlreadyExistsError) as caught:
        task.run()
    if ("by the Airflow task dag/" if task.cls.resource.has_readable_tags else "The existing resource") not in str(
        caught.value
    ):
        raise IncompleteMessageError(f"the message is incomplete: {caught.value}")


def _time_out(task: Task, message: str, **more: Any) -> Steps:
    yield
    with pytest.raises(WaitTimeoutError) as caught:
        task.run(waiter_delay=1, waiter_max_attempts=1, **more)
    assert message in str(caught.value), str(caught.value)


def _fail_with_query(task: Task) -> Steps:
    yield
    task.lab.set_faults(Fault(task.api_operation, "fail_job", message="no such column"))
    with pytest.raises(JobFailedError) as caught:
        task.run()
    # Once from the job, once from its query.
    if str(caught.value).count("no such column") < 2:
        raise IncompleteMessageError(f"the message is incomplete: {caught.value}")


def _fail(task: Task) -> Steps:
    yield
    with pytest.raises(JobFailedError):
        task.run()


def _retry_with_newer_version(task: Task) -> Steps:
    first = task.run()
    channel = {"trainedModelArn": first, "channelName": "before"}
    arguments = {**task.arguments, "incremental_training_data_channels": [channel]}
    task.lab.hook.call("create_trained_model", arguments)
    yield
    assert task.run() == first


def _find_deletion_in_progress(task: Task) -> Steps:
    task.run(wait_for_completion=False)
    yield
    task.run(wait_for_completion=False)


def _wait_for_partner(task: Task) -> Steps:
    store = task.lab.emulator.shared.store
    (job,) = [record for record in store.find("audience-generation-job") if record.fields["name"] == "theirs"]
    own_account = job.fields["startedBy"]
    job.fields["startedBy"] = PARTNER
    yield
    task.run()
    job.fields["startedBy"] = own_account
    task.run(deferrable=True, meanwhile=lambda: job.fields.update(startedBy=PARTNER))


def list_situations(cls: type[Any]) -> Iterator[Situation]:
    """List the situations of a class."""
    if issubclass(cls, CleanRoomsMLCreateOperator):
        yield from _list_create_situations(cls)
    elif issubclass(cls, WAITING):
        yield from _list_delete_situations(cls)
    elif issubclass(cls, CleanRoomsMLBaseSensor):
        yield from _list_sensor_situations(cls)
    else:
        yield Situation(cls, "runs", run_once, ARGUMENTS[cls])
    yield from _CLASS_SITUATIONS.get(cls, ())


def _build_arguments(
    cls: Any, arguments: Callable[[Laboratory], Arguments], **more: Any
) -> Callable[[Laboratory], Arguments]:
    """Return a function that builds the arguments of a create operation: a name, and others."""
    return lambda lab: {cls.resource.named: "new", **arguments(lab), **more}


def _list_create_situations(cls: Any) -> Iterator[Situation]:
    arguments, listed = _build_arguments(cls, ARGUMENTS[cls]), group_permissions(cls)
    default = tuple(case for case in (TAG, WAIT) if case in listed)
    waits = default[-1:] if WAIT in listed else ()

    def build_situation(title: str, steps: Callable[[Task], Steps], *proves: Case, **settings: Any) -> Situation:
        return Situation(cls, title, steps, arguments, (*default, *proves), proves, settings)

    yield Situation(cls, "runs", run_once, arguments, default, (ALWAYS, *default))
    yield Situation(cls, "runs without durable", partial(run_once, durable=False), arguments, waits)
    yield build_situation("is retried", _retry, RETRY)
    yield build_situation("loses a response", _lose_response, RETRY)
    yield build_situation("reuses a resource", partial(_find_resource_of_another_run, if_exists="reuse"), REUSE)
    yield build_situation("finds its name in use", _find_name_in_use, NAME_IN_USE)
    if WAIT in listed:
        run_without_durable = partial(run_once, durable=False, wait_for_completion=False)
        yield Situation(cls, "runs without durable and does not wait", run_without_durable, arguments)
        yield build_situation("is deferred", partial(run_once, deferrable=True), WAIT, **SLOW_JOBS)
    if CANCEL in listed:
        yield build_situation("is cancelled", partial(_time_out, message="It was cancelled."), CANCEL, **ENDLESS_JOBS)
    if DELETE in listed:
        # The emulator does not delete a resource whose creation is in progress.
        time_out = partial(_time_out, message="ConflictException", delete_on_kill=True)
        yield build_situation("is deleted", time_out, DELETE, **ENDLESS_JOBS)
    if FAILED_QUERY in listed:
        yield build_situation("fails with its query", _fail_with_query, FAILED_QUERY)


def _list_delete_situations(cls: Any) -> Iterator[Situation]:
    is_cancel = cls.operation.startswith("cancel_")
    slow_settings = SLOW_JOBS if is_cancel else {"delete_seconds": 100.0}
    waits, arguments = (WAIT_FOR_DELETION,), ARGUMENTS[cls]
    yield Situation(cls, "runs", run_once, arguments, waits, (ALWAYS, *waits), SLOW_JOBS if is_cancel else {})
    yield Situation(cls, "is deferred", partial(run_once, deferrable=True), arguments, waits, waits, slow_settings)
    yield Situation(cls, "finds it in progress", _find_deletion_in_progress, arguments, waits, waits, slow_settings)
    yield Situation(
        cls,
        "does not wait",
        partial(run_once, wait_for_completion=False),
        arguments,
        settings=SLOW_JOBS if is_cancel else {},
    )
    if VERSIONS in group_permissions(cls):
        yield Situation(
            cls,
            "is called for the first of several versions",
            run_once,
            create_second_version,
            (*waits, VERSIONS),
            (VERSIONS,),
        )


def _list_sensor_situations(cls: Any) -> Iterator[Situation]:
    if cls is sensors.CleanRoomsMLNewAudienceGenerationJobsSensor:
        yield Situation(cls, "runs", _wait_for_partner, ARGUMENTS[cls])
        return
    for case in [case for case in (OWN, PARTNERS) if case in group_permissions(cls)] or [ALWAYS]:
        arguments = partial(_build_sensor_arguments, cls, case)
        yield Situation(cls, f"runs {case.when}", run_once, arguments, (case,), (case,))
        deferred = partial(run_once, deferrable=True)
        yield Situation(cls, f"is deferred {case.when}", deferred, arguments, (case,), (case,), SLOW_JOBS)


def _build_sensor_arguments(cls: Any, case: Case, lab: Laboratory) -> Arguments:
    scopes = {
        OWN: {"membership_identifier": lab.studio.membership},
        PARTNERS: {"collaboration_identifier": lab.studio.collaboration.id},
    }
    return {**ARGUMENTS[cls](lab), **scopes.get(case, {})}


def _build_argument_situation(
    cls: Any, case: Case, arguments: Callable[[Laboratory], Arguments], *cases: Case
) -> Situation:
    """Build the situation in which an argument has a certain value."""
    return Situation(cls, case.when, run_once, arguments, (*cases, case), (case,))


def _create_failed_channel(lab: Laboratory) -> Arguments:
    lab.set_faults(Fault("CreateMLInputChannel", "fail_job"))
    return {**ARGUMENTS[_CHANNEL_SENSOR](lab), **lab.studio.mine}


def _build_partner_version_arguments(lab: Laboratory) -> Arguments:
    model = create_second_version(lab)["trained_model_arn"]
    scope = {"collaboration_identifier": lab.studio.collaboration.id}
    return {**scope, "trained_model_arn": model, "version_identifier": "NULL"}


def _build_audience_size_arguments(lab: Laboratory) -> Arguments:
    # The jobs of the laboratory have no relevance metrics.
    size = {"type": "PERCENTAGE", "value": 5}
    return {"audience_generation_job_arn": lab.generated, "if_unsuitable": "pass", "default_size": size}


_OFFER = operators.CleanRoomsCreateConfiguredAudienceModelAssociationOperator
_WITHDRAW = operators.CleanRoomsDeleteConfiguredAudienceModelAssociationOperator
_CONFIGURE = operators.CleanRoomsMLCreateConfiguredAudienceModelOperator
_CHANGE = operators.CleanRoomsMLUpdateConfiguredAudienceModelOperator
_GENERATE = operators.CleanRoomsMLStartAudienceGenerationJobOperator
_TRAIN = operators.CleanRoomsMLCreateTrainedModelOperator
_EXPORT = operators.CleanRoomsMLStartTrainedModelExportJobOperator
_PROMOTE = operators.CleanRoomsMLPromoteAudienceModelOperator
_PRUNE = operators.CleanRoomsMLPruneAudienceModelsOperator
_CHOOSE = operators.CleanRoomsMLChooseAudienceSizeOperator
_MODEL_SENSOR = sensors.CleanRoomsMLTrainedModelSensor
_CHANNEL_SENSOR = sensors.CleanRoomsMLMLInputChannelSensor
_TAGS = {"key": "value"}
_UPDATES: Arguments = {"if_exists": "update", "shared_audience_metrics": ["NONE"], "tags": _TAGS}
_NEXT_VERSION = KINDS["version of a trained model"].build_base_arguments
_CHECK_DATA = operators.CleanRoomsMLCheckTrainingDataOperator
_CHECK_SEED = operators.CleanRoomsMLCheckSeedAudienceOperator
#: Cases without actions that the emulator evaluates; see ``test_data_check_permissions.py``.
_OTHER_SERVICE_CASES = (PARTITIONED, FILES, ATHENA)
#: Situations that only one class has.
_CLASS_SITUATIONS: dict[type[Any], tuple[Situation, ...]] = {
    _CHECK_DATA: (
        Situation(
            _CHECK_DATA,
            "reads the dataset",
            run_once,
            create_checked_dataset,
            (DATASET,),
            (DATASET, *_OTHER_SERVICE_CASES),
        ),
    ),
    _CHECK_SEED: (
        Situation(_CHECK_SEED, "reads a seed in S3", run_once, ARGUMENTS[_CHECK_SEED], proves=(SEED_IN_S3,)),
    ),
    _OFFER: (
        _build_argument_situation(
            _OFFER, argument_case("tags"), _build_arguments(_OFFER, ARGUMENTS[_OFFER], tags=_TAGS)
        ),
        _build_argument_situation(
            _OFFER,
            argument_case("manage_resource_policies=True"),
            _build_arguments(_OFFER, ARGUMENTS[_OFFER], manage_resource_policies=True),
        ),
    ),
    _WITHDRAW: (
        _build_argument_situation(
            _WITHDRAW, MANAGED_POLICY, partial(create_association, manage_resource_policies=True)
        ),
    ),
    _CONFIGURE: (
        Situation(
            _CONFIGURE,
            "updates a resource",
            partial(_find_resource_of_another_run, **_UPDATES),
            _build_arguments(_CONFIGURE, ARGUMENTS[_CONFIGURE]),
            (UPDATE,),
            (UPDATE,),
        ),
    ),
    _CHANGE: (
        _build_argument_situation(
            _CHANGE,
            argument_case("output_config"),
            lambda lab: {**ARGUMENTS[_CHANGE](lab), "output_config": lab.world.output},
        ),
    ),
    _GENERATE: (
        _build_argument_situation(
            _GENERATE,
            argument_case("collaboration_id"),
            _build_arguments(_GENERATE, KINDS["audience generation job of a collaboration"].build_base_arguments),
            TAG,
            WAIT,
        ),
    ),
    _TRAIN: (
        Situation(
            _TRAIN,
            "is retried when a newer version exists",
            _retry_with_newer_version,
            _build_arguments(_TRAIN, ARGUMENTS[_TRAIN]),
            (TAG, WAIT, RETRY, VERSIONS),
            (VERSIONS,),
        ),
        Situation(
            _TRAIN,
            "is retried with an incremental version",
            _retry,
            _build_arguments(_TRAIN, _NEXT_VERSION),
            (TAG, WAIT, RETRY, VERSIONS),
            (VERSIONS,),
        ),
    ),
    _EXPORT: (
        Situation(
            _EXPORT,
            "exports a model of another member",
            run_once,
            _build_arguments(_EXPORT, ARGUMENTS[_EXPORT]),
            (WAIT, FOREIGN_MODEL),
            (FOREIGN_MODEL,),
            without=("cleanrooms-ml:GetTrainedModel",),
        ),
    ),
    _PROMOTE: (_build_argument_situation(_PROMOTE, COMPARES, build_promotion_arguments),),
    _PRUNE: (_build_argument_situation(_PRUNE, DELETES, build_pruning_arguments),),
    _CHOOSE: (_build_argument_situation(_CHOOSE, JOB, _build_audience_size_arguments),),
    _CHANNEL_SENSOR: (Situation(_CHANNEL_SENSOR, "fails", _fail, _create_failed_channel, (OWN,), (OWN,)),),
    _MODEL_SENSOR: (
        _build_argument_situation(
            _MODEL_SENSOR, BASE_VERSION, lambda lab: {**create_second_version(lab), "version_identifier": "NULL"}, OWN
        ),
        Situation(
            _MODEL_SENSOR,
            "sees the latest version of a partner's model",
            run_once,
            _build_partner_version_arguments,
            (PARTNERS,),
            (PARTNERS,),
        ),
    ),
}
