"""Facts that no document decides: the emulator is held to its assumption, a real account's answer is reported."""

from __future__ import annotations

import uuid
from typing import Any

from botocore.exceptions import ClientError

from airflow_cleanroomsml._resources.table import CONFIGURED_MODEL_ALGORITHM, TRAINING_DATASET
from tests.aws.created_resources import Bench
from tests.aws.observations import ACCEPTED, Observer, Outcome, outcome

REFUSED = "ValidationException"


def dataset(bench: Bench, **more: Any) -> Outcome:
    """How a request for a training dataset is answered."""
    seen = outcome(lambda: bench.ml.create_training_dataset(**bench.dataset_request(**more)))
    if seen.answer:
        bench.deleted_at_end(TRAINING_DATASET, seen.answer["trainingDatasetArn"])
    return seen


def algorithm(bench: Bench, name: str) -> Outcome:
    """How a request for an algorithm is answered."""
    needed = bench.account.needed
    given = {
        "name": name,
        "roleArn": needed("ROLE_ARN"),
        "trainingContainerConfig": {"imageUri": needed("IMAGE_URI")},
        "tags": bench.tags,
    }
    seen = outcome(lambda: bench.ml.create_configured_model_algorithm(**given))
    if seen.answer:
        bench.deleted_at_end(CONFIGURED_MODEL_ALGORITHM, seen.answer["configuredModelAlgorithmArn"])
    return seen


def test_whether_names_of_algorithms_are_unique(bench: Bench, observe: Observer) -> None:
    name = bench.name()
    first, second = algorithm(bench, name), algorithm(bench, name)
    assert first.word == ACCEPTED, first
    observe("a second configured model algorithm of the same name", "ConflictException", second)


def test_whether_a_name_may_have_characters_above_the_basic_plane(bench: Bench, observe: Observer) -> None:
    observe("a name with a character above U+FFFF", ACCEPTED, dataset(bench, name=f"{bench.name()} \U0001f600"))


def test_whether_case_tells_names_apart(bench: Bench, observe: Observer) -> None:
    name = bench.name()
    assert dataset(bench, name=f"{name}-a").word == ACCEPTED
    observe("a training dataset whose name differs in case alone", ACCEPTED, dataset(bench, name=f"{name}-A"))


def test_whether_a_name_is_free_again_after_a_delete(bench: Bench, observe: Observer) -> None:
    name = bench.name()
    bench.ml.delete_training_dataset(trainingDatasetArn=dataset(bench, name=name).answer["trainingDatasetArn"])
    observe("the name of a training dataset that was just deleted", ACCEPTED, dataset(bench, name=name))


def test_whether_a_table_must_be_there(bench: Bench, observe: Observer) -> None:
    data = bench.dataset_request()["trainingData"]
    data[0]["inputConfig"]["dataSource"]["glueDataSource"]["tableName"] = f"nowhere_{uuid.uuid4().hex}"
    observe("a training dataset of a Glue table that is not there", ACCEPTED, dataset(bench, trainingData=data))


def test_whether_more_than_fifty_tags_are_allowed(bench: Bench, observe: Observer) -> None:
    tags = {**bench.tags, **{f"key{number}": "" for number in range(50)}}
    observe("a training dataset with 51 tags", REFUSED, dataset(bench, tags=tags))
    more = {key: "" for key in tags if key not in bench.tags}
    arn = bench.dataset()
    seen = outcome(lambda: bench.ml.tag_resource(resourceArn=arn, tags=more))
    observe("the 51st tag by TagResource", REFUSED, seen)


def test_an_error_has_the_shape_that_is_assumed(bench: Bench, observe: Observer) -> None:
    gone = f"{bench.dataset().rsplit('/', 1)[0]}/{uuid.uuid4()}"
    try:
        bench.ml.get_training_dataset(trainingDatasetArn=gone)
    except ClientError as error:
        answer: Any = error.response
    shape = [answer["ResponseMetadata"]["HTTPStatusCode"], bool(answer["ResponseMetadata"].get("RequestId"))]
    shape += [bool(answer["Error"].get("Message")), gone in answer["Error"].get("Message", "")]
    words = "status {}, request id {}, a message {}, which names the ARN {}".format(*shape)
    assumption = "status 404, request id True, a message True, which names the ARN True"
    observe("an error of what is not there", assumption, Outcome(words, answer["Error"].get("Message", "")))
