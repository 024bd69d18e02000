"""A response that does not come from the service, such as a proxy's page, is not mistaken for one that does."""

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
RESPONSES = {
    **{name: build_http_answer(body.encode(), Content_Type="text/html") for name, body in BODIES.items()},
    **{f"{name}, as JSON": build_http_answer(BODIES[name].encode(), **JSON) for name in ("page", "nothing", "object")},
    "204": build_http_answer(b"", "204 No Content"),
    "300": build_http_answer(b"", "300 Multiple Choices"),
    "302 to a page": build_http_answer(BODIES["page"].encode(), "302 Found", Location="http://login.example/"),
    "307": build_http_answer(b"", "307 Temporary Redirect", Location="http://login.example/"),
    "bytes": build_http_answer(b"\xff\xfe\x00"),
}
#: One operation of each kind: a listing, a read, a creation, and those with an empty response.
SAMPLE_OPERATIONS = (
    "ListAudienceModels",
    "GetAudienceModel",
    "CreateAudienceModel",
    "StartAudienceExportJob",
    "DeleteAudienceModel",
)
#: Responses that all operations are tried with; the others are tried with :data:`SAMPLE_OPERATIONS`.
RESPONSES_FOR_ALL = ("page", "object, as JSON", "302 to a page")
#: All but one, for which tests.helpers.generated_requests cannot build a request: the pattern of its bucket has a lookahead.
OPERATIONS = [
    (service, name)
    for service in ("cleanroomsml", "cleanrooms")
    for name in load(service).operation_names
    if name != "StartAnalysisLogExport"
]


@pytest.fixture
def make_hook(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], CleanRoomsMLHook]:
    def make(url: str) -> CleanRoomsMLHook:
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(variable, "123456789012")
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        return CleanRoomsMLHook(config={"retries": {"total_max_attempts": 1}})

    return make


@cache
def build_arguments(service: str, name: str) -> dict[str, Any]:
    """Build a request that the service model allows."""
    shape: Any = load(service).operation_model(name).input_shape
    return {xform_name(member): build_valid(shape.members[member]) for member in shape.required_members}


@pytest.mark.parametrize(
    "value",
    ["{}", '""', "{ }", "0", "false", "null", '"text"', '{"a": 1}', "[null]", "[{}]", '["x"]', "[[]]", '[{"a": 1}]'],
)
def test_list_of_wrong_type_is_not_an_empty_listing(make_hook: Callable[[str], CleanRoomsMLHook], value: str) -> None:
    model: Any = load("cleanroomsml")
    names = {"ListAudienceModels", "ListTrainedModelVersions", "ListTrainedModelInferenceJobs"}
    # Older service models lack some of them.
    for name in names.intersection(model.operation_names):
        shape = model.operation_model(name).output_shape
        [member] = [key for key, each in shape.members.items() if each.type_name == "list"]
        with run_peer(answer_after_reading(build_http_answer(f'{{"{member}": {value}}}'.encode(), **JSON))) as server:
            hook, method = make_hook(server.build_url("http")), xform_name(name)
            for call in list_calls(hook, method, build_arguments("cleanroomsml", name)):
                with pytest.raises(UnreachableError):
                    call()


@pytest.mark.parametrize("value", ["", {}])
@pytest.mark.parametrize(
    ("operation", "member", "place"),
    [("GetTrainingDataset", "trainingData", "tags"), ("GetTrainedModel", "dataChannels", "hyperparameters")],
)
def test_map_key_may_have_the_name_of_a_list(
    make_hook: Callable[[str], CleanRoomsMLHook], operation: str, member: str, place: str, value: Any
) -> None:
    shape: Any = load("cleanroomsml").operation_model(operation).output_shape
    response = {name: [] if each.type_name == "list" else "x" for name, each in shape.members.items()}
    response = {name: each for name, each in response.items() if name in shape.required_members or name == member}
    # A map holds texts, but a later version of the service may put an object there.
    body = json.dumps({**response, place: {member: value}, "createTime": 1, "updateTime": 1}).encode()
    with run_peer(answer_after_reading(build_http_answer(body, **JSON, x_amzn_RequestId="r-1"))) as server:
        parsed = make_hook(server.build_url("http")).call(
            xform_name(operation), build_arguments("cleanroomsml", operation)
        )
    assert parsed[member] == []


def test_proxy_time_out_is_not_a_refusal(make_hook: Callable[[str], CleanRoomsMLHook]) -> None:
    """A proxy may have forwarded the request before it gave up."""
    with run_peer(answer_after_reading(build_http_answer(b"<html>", "408 Request Timeout"))) as server:
        hook = make_hook(server.build_url("http"))
        with pytest.raises(OutcomeUnknownError, match="may have been carried out"):
            hook.call("create_audience_model", build_arguments("cleanroomsml", "CreateAudienceModel"))
        with pytest.raises(UnreachableError):
            hook.call("list_audience_models")


def test_time_out_with_request_id_is_a_service_error(make_hook: Callable[[str], CleanRoomsMLHook]) -> None:
    headers = {"x_amzn_RequestId": "r-1", "x_amzn_ErrorType": "RequestTimeoutException", **JSON}
    response = build_http_answer(b'{"message": "too slow"}', "408 Request Timeout", **headers)
    with run_peer(answer_after_reading(response)) as server:
        hook = make_hook(server.build_url("http"))
        for operation in ("create_audience_model", "list_audience_models"):
            arguments = build_arguments("cleanroomsml", "CreateAudienceModel") if operation.startswith("create") else {}
            with pytest.raises(ServiceError, match="failed with RequestTimeoutException:\n  too slow"):
                hook.call(operation, arguments)


@pytest.mark.parametrize("response", RESPONSES)
def test_operations_reject_garbled_response(make_hook: Callable[[str], CleanRoomsMLHook], response: str) -> None:
    accepted: list[Any] = []
    errors: dict[bool, type[Exception]] = {True: OutcomeUnknownError, False: UnreachableError}
    with run_peer(answer_after_reading(RESPONSES[response])) as server:
        hook = make_hook(server.build_url("http"))
        for service, name in OPERATIONS:
            if response not in RESPONSES_FOR_ALL and name not in SAMPLE_OPERATIONS:
                continue
            service_hook, method, arguments = hook.of(service), xform_name(name), build_arguments(service, name)
            error = errors[service_hook.check(method, arguments).is_sent_once]
            for call in list_calls(service_hook, method, arguments):
                try:
                    accepted.append((name, call()))
                except error:
                    continue
    assert accepted == []


def list_calls(hook: CleanRoomsMLHook, method: str, arguments: dict[str, Any]) -> list[Callable[[], Any]]:
    """List functions that send a request, one for each method of the hook."""
    if not hook.conn.can_paginate(method):
        return [lambda: hook.call(method, arguments)]
    return [
        lambda: hook.call(method, arguments),
        lambda: hook.call_all_pages(method, arguments),
        lambda: list(hook.items(method, arguments)),
        lambda: list(hook.pages(method, arguments)),
    ]


def garble(world: World, operation: str, times: int = 1) -> None:
    world.add_fault(operation, "garbled", times=times)


@pytest.mark.parametrize("goal", ["created", "deleted"])
def test_export_stays_pending(world: World, goal: str) -> None:
    job = world.generate_audience()
    identifiers = {"audience_generation_job_arn": job, "name": "e"}
    size = {"type": "PERCENTAGE", "value": 5}
    world.ml.start_audience_export_job(name="e", audienceGenerationJobArn=job, audienceSize=size)
    now = _clock.now()
    wait = Wait("audience export job", goal, identifiers, now, now + 60, 1.0, lag=0.0)
    garble(world, "ListAudienceExportJobs")
    poll_result = poll_once(CleanRoomsMLHook(), wait)
    assert (poll_result.status, poll_result.outcome) == ("", "pending")
    garble(world, "ListAudienceExportJobs")
    if goal == "created":
        assert run_wait(wait)["poll_result"]["status"] == "ACTIVE"


@versioned
@pytest.mark.parametrize("operation", ["GetTrainedModel", "ListTrainedModelVersions"])
@pytest.mark.parametrize("goal", ["created", "deleted"])
def test_first_version_stays_pending(empty_world: World, goal: str, operation: str) -> None:
    studio = Studio(empty_world)
    model = studio.ml.create_trained_model(
        **studio.of,
        name="model",
        configuredModelAlgorithmAssociationArn=studio.association,
        resourceConfig={"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30},
        dataChannels=[{"mlInputChannelArn": studio.channel, "channelName": "training"}],
        incrementalTrainingDataChannels=[{"trainedModelArn": studio.model, "channelName": "before"}],
    )
    assert model["trainedModelArn"] == studio.model
    now = _clock.now()
    identifiers = {"trained_model_arn": studio.model, "version_identifier": BASE, **studio.mine}
    wait = Wait("trained model", goal, identifiers, now, now + 60, 1.0, lag=0.0)
    garble(empty_world, operation)
    poll_result = poll_once(CleanRoomsMLHook(), wait)
    assert (poll_result.status, poll_result.outcome) == ("", "pending")
    assert poll_once(CleanRoomsMLHook(), wait).status == "ACTIVE"


@pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
def test_wait_for_export_survives_garbled_listing(world: World, deferrable: bool) -> None:
    garble(world, "ListAudienceExportJobs", times=2)
    task_run = run(
        CleanRoomsMLStartAudienceExportJobOperator(
            task_id="t",
            name="e",
            audience_generation_job_arn=world.generate_audience(),
            audience_size={"type": "PERCENTAGE", "value": 5},
            deferrable=deferrable,
            waiter_delay=1,
        )
    )
    assert task_run.result["output_location"]
    assert world.calls.count("StartAudienceExportJob") == 1


def test_garbled_listing_does_not_look_like_missing_membership(empty_world: World) -> None:
    collaboration_id = collaborate(empty_world).id
    garble(empty_world, "ListMemberships")
    with pytest.raises(UnreachableError, match="ListMemberships got a response without membershipSummaries"):
        run(CleanRoomsFindMembershipOperator(task_id="t", collaboration_identifier=collaboration_id))


@pytest.mark.parametrize("verb", ["List", "Get"])
def test_offer_search_fails(world: World, verb: str) -> None:
    collaboration = collaborate(world)
    world.client("cleanrooms").create_configured_audience_model_association(
        membershipIdentifier=collaboration.find_membership(world),
        configuredAudienceModelArn=world.create_configured_model(),
        configuredAudienceModelAssociationName="offer",
        manageResourcePolicies=True,
    )
    garble(world, f"{verb}CollaborationConfiguredAudienceModelAssociation{'s' if verb == 'List' else ''}")
    with pytest.raises(UnreachableError, match="got a response without"):
        run(CleanRoomsFindConfiguredAudienceModelOperator(task_id="t", collaboration_identifier=collaboration.id))


@pytest.mark.parametrize("operation", ["list_training_datasets", "list_tags_for_resource"])
def test_call_of_listing_fails(empty_world: World, operation: str) -> None:
    parameters = {} if operation == "list_training_datasets" else {"resource_arn": empty_world.create_dataset()}
    garble(empty_world, "*")
    with pytest.raises(UnreachableError, match="got a response without"):
        run(CleanRoomsMLCallOperator(task_id="t", operation=operation, parameters=parameters))


def test_garbled_response_does_not_confirm_deletion(world: World) -> None:
    arn = world.create_configured_model()
    delete: dict[str, Any] = {"task_id": "t", "configured_audience_model_arn": arn}
    garble(world, "DeleteConfiguredAudienceModel")
    with pytest.raises(UnreachableError, match="got a response without a request ID"):
        run(CleanRoomsMLDeleteConfiguredAudienceModelOperator(**delete))
    run(CleanRoomsMLDeleteConfiguredAudienceModelOperator(**delete))
    assert world.ml.list_configured_audience_models()["configuredAudienceModels"] == []
