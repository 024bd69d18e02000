"""What answers in the service's place is not taken for the service, whatever was asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from botocore import xform_name

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._requests.request import load
from airflow_cleanroomsml._resources.lookup import BASE
from airflow_cleanroomsml._waiting.loop import poll_once
from airflow_cleanroomsml._waiting.wait import Wait
from airflow_cleanroomsml.exceptions import OutcomeUnknownError, ServiceError, UnreachableError
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from airflow_cleanroomsml.operators import (
    CleanRoomsFindConfiguredAudienceModelOperator,
    CleanRoomsFindMembershipOperator,
    CleanRoomsMLCallOperator,
    CleanRoomsMLDeleteConfiguredAudienceModelOperator,
    CleanRoomsMLStartAudienceExportJobOperator,
)
from tests.helpers.collaboration import collaborate
from tests.helpers.custom_models import Studio, versioned
from tests.helpers.garbled_responses import BODIES
from tests.helpers.generated_requests import build_valid
from tests.helpers.socket_servers import answer_after_reading, build_http_answer, run_peer
from tests.support import World, run
from tests.test_triggers import run_wait

JSON = {"Content_Type": "application/json"}
ANSWERS = {
    **{name: build_http_answer(body.encode(), Content_Type="text/html") for name, body in BODIES.items()},
    **{f"{name}, as JSON": build_http_answer(BODIES[name].encode(), **JSON) for name in ("page", "nothing", "object")},
    "204": build_http_answer(b"", "204 No Content"),
    "300": build_http_answer(b"", "300 Multiple Choices"),
    "302 to a page": build_http_answer(BODIES["page"].encode(), "302 Found", Location="http://login.example/"),
    "307": build_http_answer(b"", "307 Temporary Redirect", Location="http://login.example/"),
    "bytes": build_http_answer(b"\xff\xfe\x00"),
}
#: One of each sort: a listing, a read, what makes something, what answers nothing.
SOME = (
    "ListAudienceModels",
    "GetAudienceModel",
    "CreateAudienceModel",
    "StartAudienceExportJob",
    "DeleteAudienceModel",
)
#: What all operations are tried with; the other answers are tried with some.
FOR_ALL = ("page", "object, as JSON", "302 to a page")
#: All but one, whose request tests.helpers.generated_requests cannot make up: the pattern of its bucket has a lookahead.
OPERATIONS = [
    (service, name)
    for service in ("cleanroomsml", "cleanrooms")
    for name in load(service).operation_names
    if name != "StartAnalysisLogExport"
]


@pytest.fixture
def lead(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], CleanRoomsMLHook]:
    def made(url: str) -> CleanRoomsMLHook:
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(variable, "123456789012")
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        return CleanRoomsMLHook(config={"retries": {"total_max_attempts": 1}})

    return made


@cache
def arguments(service: str, name: str) -> dict[str, Any]:
    """A request that the service model allows."""
    shape: Any = load(service).operation_model(name).input_shape
    return {xform_name(member): build_valid(shape.members[member]) for member in shape.required_members}


@pytest.mark.parametrize(
    "value",
    ["{}", '""', "{ }", "0", "false", "null", '"text"', '{"a": 1}', "[null]", "[{}]", '["x"]', "[[]]", '[{"a": 1}]'],
)
def test_a_list_of_another_type_is_not_an_empty_listing(lead: Callable[[str], CleanRoomsMLHook], value: str) -> None:
    for name in ("ListAudienceModels", "ListTrainedModelVersions", "ListTrainedModelInferenceJobs"):
        shape: Any = load("cleanroomsml").operation_model(name).output_shape
        [member] = [key for key, each in shape.members.items() if each.type_name == "list"]
        with run_peer(answer_after_reading(build_http_answer(f'{{"{member}": {value}}}'.encode(), **JSON))) as server:
            hook, method = lead(server.build_url("http")), xform_name(name)
            for way in ways(hook, method, arguments("cleanroomsml", name)):
                with pytest.raises(UnreachableError):
                    way()


@pytest.mark.parametrize("value", ["", {}])
@pytest.mark.parametrize(
    ("operation", "member", "place"),
    [("GetTrainingDataset", "trainingData", "tags"), ("GetTrainedModel", "dataChannels", "hyperparameters")],
)
def test_a_key_of_a_map_may_have_the_name_of_a_list(
    lead: Callable[[str], CleanRoomsMLHook], operation: str, member: str, place: str, value: Any
) -> None:
    shape: Any = load("cleanroomsml").operation_model(operation).output_shape
    answer = {name: [] if each.type_name == "list" else "x" for name, each in shape.members.items()}
    answer = {name: each for name, each in answer.items() if name in shape.required_members or name == member}
    # A map holds texts, but a later version of the service may put an object there.
    body = json.dumps({**answer, place: {member: value}, "createTime": 1, "updateTime": 1}).encode()
    with run_peer(answer_after_reading(build_http_answer(body, **JSON, x_amzn_RequestId="r-1"))) as server:
        response = lead(server.build_url("http")).call(xform_name(operation), arguments("cleanroomsml", operation))
    assert response[member] == []


def test_a_time_out_of_a_proxy_is_no_refusal(lead: Callable[[str], CleanRoomsMLHook]) -> None:
    """A proxy may have forwarded the request before its patience ended."""
    with run_peer(answer_after_reading(build_http_answer(b"<html>", "408 Request Timeout"))) as server:
        hook = lead(server.build_url("http"))
        with pytest.raises(OutcomeUnknownError, match="may have been carried out"):
            hook.call("create_audience_model", arguments("cleanroomsml", "CreateAudienceModel"))
        with pytest.raises(UnreachableError):
            hook.call("list_audience_models")


def test_a_time_out_with_a_request_id_is_the_services_own(lead: Callable[[str], CleanRoomsMLHook]) -> None:
    headers = {"x_amzn_RequestId": "r-1", "x_amzn_ErrorType": "RequestTimeoutException", **JSON}
    answer = build_http_answer(b'{"message": "too slow"}', "408 Request Timeout", **headers)
    with run_peer(answer_after_reading(answer)) as server:
        hook = lead(server.build_url("http"))
        for operation in ("create_audience_model", "list_audience_models"):
            given = arguments("cleanroomsml", "CreateAudienceModel") if operation.startswith("create") else {}
            with pytest.raises(ServiceError, match="failed with RequestTimeoutException:\n  too slow"):
                hook.call(operation, given)


@pytest.mark.parametrize("answer", ANSWERS)
def test_no_operation_takes_it_for_an_answer(lead: Callable[[str], CleanRoomsMLHook], answer: str) -> None:
    taken: list[Any] = []
    errors: dict[bool, type[Exception]] = {True: OutcomeUnknownError, False: UnreachableError}
    with run_peer(answer_after_reading(ANSWERS[answer])) as server:
        hook = lead(server.build_url("http"))
        for service, name in OPERATIONS:
            if answer not in FOR_ALL and name not in SOME:
                continue
            one, method, given = hook.of(service), xform_name(name), arguments(service, name)
            error = errors[one.check(method, given).is_sent_once]
            for way in ways(one, method, given):
                try:
                    taken.append((name, way()))
                except error:
                    continue
    assert taken == []


def ways(hook: CleanRoomsMLHook, method: str, given: dict[str, Any]) -> list[Callable[[], Any]]:
    """All ways to send a request."""
    if not hook.conn.can_paginate(method):
        return [lambda: hook.call(method, given)]
    return [
        lambda: hook.call(method, given),
        lambda: hook.call_all_pages(method, given),
        lambda: list(hook.items(method, given)),
        lambda: list(hook.pages(method, given)),
    ]


def garbled(world: World, operation: str, times: int = 1) -> None:
    world.add_fault(operation, "garbled", times=times)


@pytest.mark.parametrize("goal", ["created", "deleted"])
def test_an_export_is_not_gone(world: World, goal: str) -> None:
    job = world.generate_audience()
    identifiers = {"audience_generation_job_arn": job, "name": "e"}
    size = {"type": "PERCENTAGE", "value": 5}
    world.ml.start_audience_export_job(name="e", audienceGenerationJobArn=job, audienceSize=size)
    now = _clock.now()
    wait = Wait("audience export job", goal, identifiers, now, now + 60, 1.0, lag=0.0)
    garbled(world, "ListAudienceExportJobs")
    seen = poll_once(CleanRoomsMLHook(), wait)
    assert (seen.status, seen.outcome) == ("", "pending")
    garbled(world, "ListAudienceExportJobs")
    if goal == "created":
        assert run_wait(wait)["poll_result"]["status"] == "ACTIVE"


@versioned
@pytest.mark.parametrize("operation", ["GetTrainedModel", "ListTrainedModelVersions"])
@pytest.mark.parametrize("goal", ["created", "deleted"])
def test_a_first_version_is_not_gone(empty_world: World, goal: str, operation: str) -> None:
    studio = Studio(empty_world)
    made = studio.ml.create_trained_model(
        **studio.of,
        name="model",
        configuredModelAlgorithmAssociationArn=studio.association,
        resourceConfig={"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30},
        dataChannels=[{"mlInputChannelArn": studio.channel, "channelName": "training"}],
        incrementalTrainingDataChannels=[{"trainedModelArn": studio.model, "channelName": "before"}],
    )
    assert made["trainedModelArn"] == studio.model
    now = _clock.now()
    identifiers = {"trained_model_arn": studio.model, "version_identifier": BASE, **studio.mine}
    wait = Wait("trained model", goal, identifiers, now, now + 60, 1.0, lag=0.0)
    garbled(empty_world, operation)
    seen = poll_once(CleanRoomsMLHook(), wait)
    assert (seen.status, seen.outcome) == ("", "pending")
    assert poll_once(CleanRoomsMLHook(), wait).status == "ACTIVE"


@pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
def test_an_export_that_is_waited_for_comes_to_its_end(world: World, deferrable: bool) -> None:
    garbled(world, "ListAudienceExportJobs", times=2)
    done = run(
        CleanRoomsMLStartAudienceExportJobOperator(
            task_id="t",
            name="e",
            audience_generation_job_arn=world.generate_audience(),
            audience_size={"type": "PERCENTAGE", "value": 5},
            deferrable=deferrable,
            waiter_delay=1,
        )
    )
    assert done.result["output_location"]
    assert world.calls.count("StartAudienceExportJob") == 1


def test_who_belongs_to_a_collaboration_does_not_look_like_a_stranger(empty_world: World) -> None:
    collaboration = collaborate(empty_world).id
    garbled(empty_world, "ListMemberships")
    with pytest.raises(UnreachableError, match="ListMemberships got a response without membershipSummaries"):
        run(CleanRoomsFindMembershipOperator(task_id="t", collaboration_identifier=collaboration))


@pytest.mark.parametrize("verb", ["List", "Get"])
def test_an_offer_is_not_gone(world: World, verb: str) -> None:
    together = collaborate(world)
    world.client("cleanrooms").create_configured_audience_model_association(
        membershipIdentifier=together.find_membership(world),
        configuredAudienceModelArn=world.create_configured_model(),
        configuredAudienceModelAssociationName="offer",
        manageResourcePolicies=True,
    )
    garbled(world, f"{verb}CollaborationConfiguredAudienceModelAssociation{'s' if verb == 'List' else ''}")
    with pytest.raises(UnreachableError, match="got a response without"):
        run(CleanRoomsFindConfiguredAudienceModelOperator(task_id="t", collaboration_identifier=together.id))


@pytest.mark.parametrize("operation", ["list_training_datasets", "list_tags_for_resource"])
def test_a_listing_as_a_task_is_not_empty(empty_world: World, operation: str) -> None:
    parameters = {} if operation == "list_training_datasets" else {"resource_arn": empty_world.create_dataset()}
    garbled(empty_world, "*")
    with pytest.raises(UnreachableError, match="got a response without"):
        run(CleanRoomsMLCallOperator(task_id="t", operation=operation, parameters=parameters))


def test_nothing_is_deleted_by_somebody_else_s_answer(world: World) -> None:
    arn = world.create_configured_model()
    delete: dict[str, Any] = {"task_id": "t", "configured_audience_model_arn": arn}
    garbled(world, "DeleteConfiguredAudienceModel")
    with pytest.raises(UnreachableError, match="got a response without a request ID"):
        run(CleanRoomsMLDeleteConfiguredAudienceModelOperator(**delete))
    run(CleanRoomsMLDeleteConfiguredAudienceModelOperator(**delete))
    assert world.ml.list_configured_audience_models()["configuredAudienceModels"] == []
