"""Undocumented behaviour: the emulator must do what it assumes, and the response of a real account is reported."""

from __future__ import annotations

import uuid
from typing import Any

from botocore.exceptions import ClientError

from airflow_cleanroomsml._resources.table import CONFIGURED_MODEL_ALGORITHM, TRAINING_DATASET
from tests.aws.created_resources import Bench
from tests.aws.observations import ACCEPTED, Observer, Outcome, send_request

REFUSED = "ValidationException"


def create_dataset(bench: Bench, **more: Any) -> Outcome:
    """Send a request for a training dataset."""
    outcome = send_request(lambda: bench.ml.create_training_dataset(**bench.build_dataset_request(**more)))
    if outcome.response:
        bench.delete_at_end(TRAINING_DATASET, outcome.response["trainingDatasetArn"])
    return outcome


def create_algorithm(bench: Bench, name: str) -> Outcome:
    """Send a request for an algorithm."""
    require = bench.account.read_requirement
    request = {
        "name": name,
        "roleArn": require("ROLE_ARN"),
        "trainingContainerConfig": {"imageUri": require("IMAGE_URI")},
        "tags": bench.tags,
    }
    outcome = send_request(lambda: bench.ml.create_configured_model_algorithm(**request))
    if outcome.response:
        bench.delete_at_end(CONFIGURED_MODEL_ALGORITHM, outcome.response["configuredModelAlgorithmArn"])
    return outcome


def test_whether_names_of_algorithms_are_unique(bench: Bench, observe: Observer) -> None:
    name = bench.make_name()
    first, second = create_algorithm(bench, name), create_algorithm(bench, name)
    assert first.word == ACCEPTED, first
    observe("a second configured model algorithm of the same name", "ConflictException", second)


def test_whether_a_name_may_have_characters_above_the_basic_plane(bench: Bench, observe: Observer) -> None:
    observe(
        "a name with a character above U+FFFF", ACCEPTED, create_dataset(bench, name=f"{bench.make_name()} \U0001f600")
    )


def test_whether_names_are_case_sensitive(bench: Bench, observe: Observer) -> None:
    name = bench.make_name()
    assert create_dataset(bench, name=f"{name}-a").word == ACCEPTED
    observe("a training dataset whose name differs in case alone", ACCEPTED, create_dataset(bench, name=f"{name}-A"))


def test_whether_name_is_free_after_delete(bench: Bench, observe: Observer) -> None:
    name = bench.make_name()
    bench.ml.delete_training_dataset(trainingDatasetArn=create_dataset(bench, name=name).response["trainingDatasetArn"])
    observe("the name of a training dataset that was just deleted", ACCEPTED, create_dataset(bench, name=name))


def test_whether_the_glue_table_must_exist(bench: Bench, observe: Observer) -> None:
    data = bench.build_dataset_request()["trainingData"]
    data[0]["inputConfig"]["dataSource"]["glueDataSource"]["tableName"] = f"nowhere_{uuid.uuid4().hex}"
    observe("a training dataset of a Glue table that is not there", ACCEPTED, create_dataset(bench, trainingData=data))


def test_whether_more_than_fifty_tags_are_allowed(bench: Bench, observe: Observer) -> None:
    tags = {**bench.tags, **{f"key{number}": "" for number in range(50)}}
    observe("a training dataset with 51 tags", REFUSED, create_dataset(bench, tags=tags))
    more = {key: "" for key in tags if key not in bench.tags}
    arn = bench.create_dataset()
    outcome = send_request(lambda: bench.ml.tag_resource(resourceArn=arn, tags=more))
    observe("the 51st tag by TagResource", REFUSED, outcome)


def test_error_has_the_assumed_format(bench: Bench, observe: Observer) -> None:
    gone = f"{bench.create_dataset().rsplit('/', 1)[0]}/{uuid.uuid4()}"
    try:
        bench.ml.get_training_dataset(trainingDatasetArn=gone)
    except ClientError as error:
        answer: Any = error.response
    shape = [answer["ResponseMetadata"]["HTTPStatusCode"], bool(answer["ResponseMetadata"].get("RequestId"))]
    shape += [bool(answer["Error"].get("Message")), gone in answer["Error"].get("Message", "")]
    words = "status {}, request id {}, a message {}, which names the ARN {}".format(*shape)
    assumption = "status 404, request id True, a message True, which names the ARN True"
    observe("an error of what is not there", assumption, Outcome(words, answer["Error"].get("Message", "")))
