from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from botocore import xform_name

from airflow_cleanroomsml._compat import AirflowFailException
from airflow_cleanroomsml._requests.request import find_operation, load
from airflow_cleanroomsml._requests.sensitive import Hidden, holds_sensitive
from airflow_cleanroomsml.exceptions import InvalidRequestError, ResourceNotFoundError, ResultError
from airflow_cleanroomsml.operators import CleanRoomsMLCallOperator
from airflow_cleanroomsml.operators.call import to_json
from tests.helpers.custom_models import SQL, Studio
from tests.support import World, run

OPERATIONS = [xform_name(name) for name in load().operation_names]


def call(operation: str, parameters: Any = None, **more: Any) -> Any:
    return run(CleanRoomsMLCallOperator(task_id="t", operation=operation, parameters=parameters, **more)).result


def test_response_is_json_with_api_member_names(world: World) -> None:
    dataset = world.create_dataset("of interactions")
    response = call("get_training_dataset", {"training_dataset_arn": "{{ dataset }}".replace("{{ dataset }}", dataset)})
    assert response["name"] == "of interactions"
    assert response["createTime"].endswith("+00:00")
    assert "ResponseMetadata" not in response


@pytest.mark.parametrize("parameters", [{}, {"max_results": 2}], ids=["all", "pages of two"])
def test_pages_of_listing_are_combined(world: World, parameters: dict[str, int]) -> None:
    for index in range(5):
        world.create_dataset(f"d{index}")
    response = call("list_training_datasets", parameters)
    assert [entry["name"] for entry in response["trainingDatasets"]] == [f"d{index}" for index in range(5)]
    assert "nextToken" not in response
    assert world.calls.count("ListTrainingDatasets") == (3 if parameters else 1)


def test_page_token_gets_one_page(world: World) -> None:
    for index in range(3):
        world.create_dataset(f"d{index}")
    token = world.ml.list_training_datasets(maxResults=1)["nextToken"]
    response = call("list_training_datasets", {"next_token": token, "max_results": 1})
    assert [entry["name"] for entry in response["trainingDatasets"]] == ["d1"]
    assert response["nextToken"]


def test_jmespath_selects_result(world: World, caplog: pytest.LogCaptureFixture) -> None:
    for index in range(3):
        world.create_dataset(f"d{index}")
    assert call("list_training_datasets", jmespath="trainingDatasets[?name!='d1'].name") == ["d0", "d2"]
    assert call("list_training_datasets", jmespath="trainingDatasets[-1].name") == "d2"
    assert call("list_training_datasets", jmespath="nothing.there") is None
    assert (
        "'nothing.there' selects nothing, so the task returns None; members of the response: trainingDatasets"
        in caplog.text
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"jmespath": "a["}, "(?s)jmespath: 'a\\[' is not a valid expression.*Incomplete expression"),
        ({"jmespath": "foo(@)"}, "(?s)jmespath: .*Unknown function: foo"),
        ({"jmespath": "length(@, @)"}, "jmespath: "),
        ({"jmespath": "[a][::0]"}, "(?s)jmespath: .* is not a valid expression.*slice step cannot be zero"),
        ({"jmespath": "(" * 3000 + "a" + ")" * 3000}, "jmespath: .* is not a valid expression"),
        ({"jmespath": "ceil(`1e999`)"}, "(?s)jmespath: .* is not a valid expression.*cannot convert float infinity"),
        ({"service": "s3"}, "service: 's3' is unknown; allowed: cleanroomsml, cleanrooms"),
        ({"operation": "list_training_datset"}, "did you mean 'list_training_datasets'"),
        ({"operation": "list_memberships"}, 'cleanrooms has it: set service="cleanrooms"'),
        ({"parameters": {"max_result": 1}}, "max_result: .*did you mean 'max_results'"),
        ({"parameters": {"max_results": 0}}, "max_results: 0 is out of range; allowed: 1 to 100"),
        ({"parameters": "all of them"}, "parameters: a string is not valid; must be a mapping"),
    ],
)
def test_invalid_call_is_rejected_before_it_is_sent(world: World, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        call(**{"operation": "list_training_datasets", **arguments})
    assert world.calls == []


def test_parameters_can_be_json_text(world: World) -> None:
    dataset = world.create_dataset("d")
    text = json.dumps({"training_dataset_arn": dataset})
    assert call("get_{{ 'training_dataset' }}", text, jmespath="name") == "d"


def test_clean_rooms_can_be_called(studio: Studio) -> None:
    collaboration_id = call("get_membership", studio.mine, service="cleanrooms", jmespath="membership.collaborationId")
    assert collaboration_id == studio.collaboration.id


def test_confidential_members_are_masked(studio: Studio) -> None:
    identifiers = {**studio.mine, "ml_input_channel_arn": studio.channel}
    response = call("get_ml_input_channel", identifiers)
    assert response["inputChannel"]["dataSource"]["protectedQueryInputParameters"]["sqlParameters"] == "***"
    assert response["inputChannel"]["roleArn"] == studio.world.role
    assert SQL not in json.dumps(response)
    training = {k: v for k, v in studio.build_training("m").items() if k not in ("task_id", "waiter_delay")}
    model = call(
        "create_trained_model", {**training, "environment": {"PASSWORD": "marker"}}, jmespath="trainedModelArn"
    )
    response = call("get_trained_model", {**studio.mine, "trained_model_arn": model})
    assert response["environment"] == "***"
    assert response["resourceConfig"]["instanceType"] == "ml.m5.2xlarge"


def test_create_is_not_retried_if_jmespath_fails(studio: Studio) -> None:
    request = {k: v for k, v in studio.build_training("m").items() if k not in ("task_id", "waiter_delay")}
    with pytest.raises(ResultError, match="CreateTrainedModel succeeded") as caught:
        call("create_trained_model", request, jmespath="sum(trainedModelArn)")
    assert isinstance(caught.value, AirflowFailException)


def test_messages_that_quote_query_are_masked(studio: Studio) -> None:
    message = 'cannot resolve "{query}"'
    studio.world.add_fault("CreateMLInputChannel", "fail_job", code="QUERY_FAILED", message=message)
    _ = studio.association
    arn = studio.ml.create_ml_input_channel(
        **studio.of,
        name="c",
        configuredModelAlgorithmAssociations=[studio.association],
        inputChannel=studio.build_input_channel(),
        retentionInDays=1,
    )["mlInputChannelArn"]
    studio.wait_until("get_ml_input_channel", "CREATE_FAILED", mlInputChannelArn=arn)
    channel = call("get_ml_input_channel", {**studio.mine, "ml_input_channel_arn": arn})
    assert channel["statusDetails"]["statusCode"] == "QUERY_FAILED"
    assert channel["statusDetails"]["message"].startswith("***")
    query = {**studio.mine, "protected_query_identifier": channel["protectedQueryIdentifier"]}
    protected_query = call("get_protected_query", query, service="cleanrooms")
    identifiers = {"collaboration_identifier": studio.collaboration.id, "ml_input_channel_arn": arn}
    shared_channel = call("get_collaboration_ml_input_channel", identifiers)
    assert SQL not in json.dumps([channel, protected_query, shared_channel])
    assert shared_channel["statusDetails"]["message"].startswith("(withheld")


def test_create_is_sent_once(studio: Studio) -> None:
    task = CleanRoomsMLCallOperator(
        task_id="t",
        operation="create_ml_input_channel",
        parameters={
            **studio.mine,
            "name": "c",
            "configured_model_algorithm_associations": [studio.association],
            "input_channel": studio.build_input_channel("SELECT {{ 1 + 1 }}"),
            "retention_in_days": "{{ 1 }}",
        },
    )
    studio.world.add_fault("CreateMLInputChannel", "lose_response")
    with pytest.raises(Exception, match="outcome is unknown") as caught:
        run(task)
    assert type(caught.value).__name__ == "OutcomeUnknownError"
    assert studio.world.calls.count("CreateMLInputChannel") == 1
    assert isinstance(task.parameters, dict)
    query = task.parameters["input_channel"]["dataSource"]["protectedQueryInputParameters"]["sqlParameters"]
    assert isinstance(query, Hidden)
    assert query.value["queryString"] == "SELECT 2"


def test_missing_resource_raises(world: World) -> None:
    arn = f"arn:aws:cleanrooms-ml:us-east-1:{world.account}:audience-model/none"
    with pytest.raises(ResourceNotFoundError):
        call("get_audience_model", {"audience_model_arn": arn})


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operation_can_be_called(empty_world: World, operation: str) -> None:
    shape: Any = find_operation(load(), operation).input_shape
    if shape is None or not shape.required_members:
        assert all(value == [] for value in call(operation).values())
        return
    with pytest.raises(InvalidRequestError, match="missing; required"):
        call(operation)
    assert empty_world.calls == []


@pytest.mark.parametrize(
    "expression", ["contains(trainingDatasetArn, `1`)", "min_by([{a: `1`}, {a: trainingDatasetArn}], &a)"]
)
def test_create_is_not_retried_if_jmespath_raises_python_error(world: World, expression: str) -> None:
    """JMESPath does not catch all Python errors: a retry would create another dataset."""
    described = world.ml.get_training_dataset(trainingDatasetArn=world.create_dataset())
    request = {"name": "d2", "role_arn": described["roleArn"], "training_data": described["trainingData"]}
    with pytest.raises(ResultError, match="(?s)CreateTrainingDataset succeeded, but jmespath .* cannot be applied"):
        call("create_training_dataset", request, jmespath=expression)


def _iterate_explanations(shape: Any, path: str = "", inside: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield the path of each member that holds an explanation, judging by its name, with the smallest value that contains it."""
    if shape.type_name == "structure" and shape.name not in inside:
        for name, member in shape.members.items():
            if member.type_name == "string" and re.search("(?i)(message|details|reason)$", name):
                yield f"{path}.{name}", {name: "cannot resolve marker"}
            for below, value in _iterate_explanations(member, f"{path}.{name}", (*inside, shape.name)):
                yield below, {name: value}
    elif shape.type_name == "list":
        for below, value in _iterate_explanations(shape.member, f"{path}[]", inside):
            yield below, [value]


@pytest.mark.parametrize("service", ["cleanroomsml", "cleanrooms"])
def test_explanations_are_masked_where_they_may_quote_query(service: str) -> None:
    model, unmasked, count = load(service), [], 0
    for operation in model.operation_names:
        shape: Any = model.operation_model(operation).output_shape
        for path, value in _iterate_explanations(shape) if shape and holds_sensitive(shape) else ():
            count += 1
            unmasked += [operation + path] if "marker" in json.dumps(to_json(shape, value)) else []
    assert count
    assert unmasked == []
