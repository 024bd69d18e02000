"""
What can happen to a task of each class, and which permissions of its page that takes.

A situation is played in two parts: somebody who may do everything prepares it, and the task's role, which may do what the page lists, goes
through it.
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
    checked_dataset,
    new_association,
    promoted,
    pruned,
    with_a_further_version,
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

_OTHERS = tuple(f"{service}:" for service in OTHER_SERVICES)
Steps = Generator[None, None, None]
#: The emulator's settings where a job is waited for, and where it does not end.
LASTING = {"progress_seconds": 100.0}
ENDLESS = {"progress_seconds": 1e9}


class IncompleteMessageError(Exception):
    """A task did what it should; its message lacks what it could have read."""


class Task:
    """
    A task of a run, tried as often as a situation says.

    :param lab: The emulator that it works in.
    :param cls: Its class.
    :param arguments: Its arguments.
    """

    def __init__(self, lab: Laboratory, cls: type[Any], arguments: Arguments) -> None:
        self.lab, self.cls, self.arguments = lab, cls, arguments
        self._ti = TaskInstance()

    @property
    def api_operation(self) -> str:
        """The operation by the API's own name."""
        return find_operation(load(self.cls.service), self.cls.operation).name

    def run(self, meanwhile: Callable[[], object] = lambda: None, **more: Any) -> Any:
        """
        The result of the next try.

        :param meanwhile: What happens while it is deferred, besides the time that passes.
        :param more: Arguments of this try.
        """
        operator = self.cls(task_id="task", **{**self.arguments, **more})
        # One for all tries: a hook reads the service's data files when it is made.
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
        """The result of the same task in another run."""
        return Task(self.lab, self.cls, self.arguments).run()


@dataclass(frozen=True)
class Situation:
    """
    What happens to a task.

    :param cls: Its class.
    :param title: In words.
    :param steps: Prepare it, yield, and go through it.
    :param cases: Cases of the page whose permissions suffice for it, besides what is always needed.
    :param proves: Those of them of whose permissions each is needed in it.
    :param arguments: Makes what the task needs; its arguments.
    :param settings: The emulator's.
    :param without: Actions that the role need not have.
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
        """The permissions that suffice."""
        return [action for action in self._list_actions(ALWAYS, *self.cases) if action not in self.without]

    @property
    def proven(self) -> list[str]:
        """Those of them that are needed."""
        return [action for action in self._list_actions(*self.proves) if action not in self.without]

    def _list_actions(self, *cases: Case) -> list[str]:
        listed = group_permissions(self.cls)
        actions = dict.fromkeys(action for case in cases for action in listed.get(case, ()))
        # The emulator evaluates no actions of other services; test_role.py does that with moto.
        return [action for action in actions if action == PASS_ROLE or not action.startswith(_OTHERS)]

    def play(self, lab: Laboratory, actions: Collection[str]) -> set[str]:
        """
        Let it happen to a role.

        :param actions: What the role may do.
        :return: What it has needed, whether or not it might do it.
        :raises Exception: That is not enough.
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


def runs(task: Task, **more: Any) -> Steps:
    yield
    task.run(**more)


def _is_retried(task: Task) -> Steps:
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


def _time_out(task: Task, says: str, **more: Any) -> Steps:
    yield
    with pytest.raises(WaitTimeoutError) as caught:
        task.run(waiter_delay=1, waiter_max_attempts=1, **more)
    assert says in str(caught.value), str(caught.value)


def _fail_with_query(task: Task) -> Steps:
    yield
    task.lab.set_faults(Fault(task.api_operation, "fail_job", message="no such column"))
    with pytest.raises(JobFailedError) as caught:
        task.run()
    # The job says so, and so does its query.
    if str(caught.value).count("no such column") < 2:
        raise IncompleteMessageError(f"the message is incomplete: {caught.value}")


def _fail(task: Task) -> Steps:
    yield
    with pytest.raises(JobFailedError):
        task.run()


def _is_retried_when_there_is_a_further_version(task: Task) -> Steps:
    first = task.run()
    channel = {"trainedModelArn": first, "channelName": "before"}
    further = {**task.arguments, "incremental_training_data_channels": [channel]}
    task.lab.hook.call("create_trained_model", further)
    yield
    assert task.run() == first


def _find_deletion_in_progress(task: Task) -> Steps:
    task.run(wait_for_completion=False)
    yield
    task.run(wait_for_completion=False)


def _wait_for_partner(task: Task) -> Steps:
    store = task.lab.emulator.shared.store
    (job,) = [record for record in store.find("audience-generation-job") if record.fields["name"] == "theirs"]
    own = job.fields["startedBy"]
    job.fields["startedBy"] = PARTNER
    yield
    task.run()
    job.fields["startedBy"] = own
    task.run(deferrable=True, meanwhile=lambda: job.fields.update(startedBy=PARTNER))


def situations(cls: type[Any]) -> Iterator[Situation]:
    """All that can happen to a task of a class."""
    if issubclass(cls, CleanRoomsMLCreateOperator):
        yield from _list_create_situations(cls)
    elif issubclass(cls, WAITING):
        yield from _list_delete_situations(cls)
    elif issubclass(cls, CleanRoomsMLBaseSensor):
        yield from _list_sensor_situations(cls)
    else:
        yield Situation(cls, "runs", runs, ARGUMENTS[cls])
    yield from _OF_ITS_OWN.get(cls, ())


def _build_arguments(
    cls: Any, arguments: Callable[[Laboratory], Arguments], **more: Any
) -> Callable[[Laboratory], Arguments]:
    """The arguments of a create: a name, and others."""
    return lambda lab: {cls.resource.named: "new", **arguments(lab), **more}


def _list_create_situations(cls: Any) -> Iterator[Situation]:
    arguments, listed = _build_arguments(cls, ARGUMENTS[cls]), group_permissions(cls)
    default = tuple(case for case in (TAG, WAIT) if case in listed)
    waits = default[-1:] if WAIT in listed else ()

    def situation(title: str, steps: Callable[[Task], Steps], *proven: Case, **settings: Any) -> Situation:
        return Situation(cls, title, steps, arguments, (*default, *proven), proven, settings)

    yield Situation(cls, "runs", runs, arguments, default, (ALWAYS, *default))
    yield Situation(cls, "runs without durable", partial(runs, durable=False), arguments, waits)
    yield situation("is retried", _is_retried, RETRY)
    yield situation("loses a response", _lose_response, RETRY)
    yield situation("reuses", partial(_find_resource_of_another_run, if_exists="reuse"), REUSE)
    yield situation("finds its name in use", _find_name_in_use, NAME_IN_USE)
    if WAIT in listed:
        without = partial(runs, durable=False, wait_for_completion=False)
        yield Situation(cls, "runs without durable and does not wait", without, arguments)
        yield situation("is deferred", partial(runs, deferrable=True), WAIT, **LASTING)
    if CANCEL in listed:
        yield situation("is cancelled", partial(_time_out, says="It was cancelled."), CANCEL, **ENDLESS)
    if DELETE in listed:
        # The emulator deletes nothing that is being made.
        conflicts = partial(_time_out, says="ConflictException", delete_on_kill=True)
        yield situation("is deleted", conflicts, DELETE, **ENDLESS)
    if FAILED_QUERY in listed:
        yield situation("fails with its query", _fail_with_query, FAILED_QUERY)


def _list_delete_situations(cls: Any) -> Iterator[Situation]:
    cancels = cls.operation.startswith("cancel_")
    lasting = LASTING if cancels else {"delete_seconds": 100.0}
    waits, arguments = (WAIT_FOR_DELETION,), ARGUMENTS[cls]
    yield Situation(cls, "runs", runs, arguments, waits, (ALWAYS, *waits), LASTING if cancels else {})
    yield Situation(cls, "is deferred", partial(runs, deferrable=True), arguments, waits, waits, lasting)
    yield Situation(cls, "finds it under way", _find_deletion_in_progress, arguments, waits, waits, lasting)
    yield Situation(
        cls, "does not wait", partial(runs, wait_for_completion=False), arguments, settings=LASTING if cancels else {}
    )
    if VERSIONS in group_permissions(cls):
        yield Situation(
            cls,
            "is about the first of several versions",
            runs,
            with_a_further_version,
            (*waits, VERSIONS),
            (VERSIONS,),
        )


def _list_sensor_situations(cls: Any) -> Iterator[Situation]:
    if cls is sensors.CleanRoomsMLNewAudienceGenerationJobsSensor:
        yield Situation(cls, "runs", _wait_for_partner, ARGUMENTS[cls])
        return
    for case in [case for case in (OWN, PARTNERS) if case in group_permissions(cls)] or [ALWAYS]:
        arguments = partial(_seen_by, cls, case)
        yield Situation(cls, f"runs {case.when}", runs, arguments, (case,), (case,))
        deferred = partial(runs, deferrable=True)
        yield Situation(cls, f"is deferred {case.when}", deferred, arguments, (case,), (case,), LASTING)


def _seen_by(cls: Any, case: Case, lab: Laboratory) -> Arguments:
    of = {
        OWN: {"membership_identifier": lab.studio.membership},
        PARTNERS: {"collaboration_identifier": lab.studio.collaboration.id},
    }
    return {**ARGUMENTS[cls](lab), **of.get(case, {})}


def _with(cls: Any, case: Case, arguments: Callable[[Laboratory], Arguments], *cases: Case) -> Situation:
    """A situation that an argument makes."""
    return Situation(cls, case.when, runs, arguments, (*cases, case), (case,))


def _failed_channel(lab: Laboratory) -> Arguments:
    lab.set_faults(Fault("CreateMLInputChannel", "fail_job"))
    return {**ARGUMENTS[_SEE_A_CHANNEL](lab), **lab.studio.mine}


def _see_versions_of_partner(lab: Laboratory) -> Arguments:
    model = with_a_further_version(lab)["trained_model_arn"]
    of = {"collaboration_identifier": lab.studio.collaboration.id}
    return {**of, "trained_model_arn": model, "version_identifier": "NULL"}


def _build_job_arguments(lab: Laboratory) -> Arguments:
    # The laboratory computes no relevance.
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
_SEE_A_MODEL = sensors.CleanRoomsMLTrainedModelSensor
_SEE_A_CHANNEL = sensors.CleanRoomsMLMLInputChannelSensor
_TAGS = {"key": "value"}
_UPDATES: Arguments = {"if_exists": "update", "shared_audience_metrics": ["NONE"], "tags": _TAGS}
_FURTHER = KINDS["version of a trained model"].build_base_arguments
_CHECK_DATA = operators.CleanRoomsMLCheckTrainingDataOperator
_CHECK_SEED = operators.CleanRoomsMLCheckSeedAudienceOperator
#: Cases without actions that the emulator evaluates; see ``test_data_check_permissions.py``.
_OF_OTHER_SERVICES = (PARTITIONED, FILES, ATHENA)
#: What can happen to a class alone.
_OF_ITS_OWN: dict[type[Any], tuple[Situation, ...]] = {
    _CHECK_DATA: (
        Situation(_CHECK_DATA, "reads the dataset", runs, checked_dataset, (DATASET,), (DATASET, *_OF_OTHER_SERVICES)),
    ),
    _CHECK_SEED: (Situation(_CHECK_SEED, "reads a seed in S3", runs, ARGUMENTS[_CHECK_SEED], proves=(SEED_IN_S3,)),),
    _OFFER: (
        _with(_OFFER, argument_case("tags"), _build_arguments(_OFFER, ARGUMENTS[_OFFER], tags=_TAGS)),
        _with(
            _OFFER,
            argument_case("manage_resource_policies=True"),
            _build_arguments(_OFFER, ARGUMENTS[_OFFER], manage_resource_policies=True),
        ),
    ),
    _WITHDRAW: (_with(_WITHDRAW, MANAGED_POLICY, partial(new_association, manage_resource_policies=True)),),
    _CONFIGURE: (
        Situation(
            _CONFIGURE,
            "updates",
            partial(_find_resource_of_another_run, **_UPDATES),
            _build_arguments(_CONFIGURE, ARGUMENTS[_CONFIGURE]),
            (UPDATE,),
            (UPDATE,),
        ),
    ),
    _CHANGE: (
        _with(
            _CHANGE,
            argument_case("output_config"),
            lambda lab: {**ARGUMENTS[_CHANGE](lab), "output_config": lab.world.output},
        ),
    ),
    _GENERATE: (
        _with(
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
            "is retried when there is a further version",
            _is_retried_when_there_is_a_further_version,
            _build_arguments(_TRAIN, ARGUMENTS[_TRAIN]),
            (TAG, WAIT, RETRY, VERSIONS),
            (VERSIONS,),
        ),
        Situation(
            _TRAIN,
            "is retried with a further version",
            _is_retried,
            _build_arguments(_TRAIN, _FURTHER),
            (TAG, WAIT, RETRY, VERSIONS),
            (VERSIONS,),
        ),
    ),
    _EXPORT: (
        Situation(
            _EXPORT,
            "exports another's model",
            runs,
            _build_arguments(_EXPORT, ARGUMENTS[_EXPORT]),
            (WAIT, FOREIGN_MODEL),
            (FOREIGN_MODEL,),
            without=("cleanrooms-ml:GetTrainedModel",),
        ),
    ),
    _PROMOTE: (_with(_PROMOTE, COMPARES, promoted),),
    _PRUNE: (_with(_PRUNE, DELETES, pruned),),
    _CHOOSE: (_with(_CHOOSE, JOB, _build_job_arguments),),
    _SEE_A_CHANNEL: (Situation(_SEE_A_CHANNEL, "fails", _fail, _failed_channel, (OWN,), (OWN,)),),
    _SEE_A_MODEL: (
        _with(
            _SEE_A_MODEL, BASE_VERSION, lambda lab: {**with_a_further_version(lab), "version_identifier": "NULL"}, OWN
        ),
        Situation(
            _SEE_A_MODEL,
            "sees the latest version of a partner's model",
            runs,
            _see_versions_of_partner,
            (PARTNERS,),
            (PARTNERS,),
        ),
    ),
}
