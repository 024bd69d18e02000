"""Regions: each has its partition, in every ARN; one that AWS does not have is refused."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from botocore.loaders import Loader

from airflow_cleanroomsml._requests.request import load
from airflow_cleanroomsml.emulator import regions
from tests.emulator.clocked_world import expect_refusal
from tests.emulator.test_wire import ARNS
from tests.emulator.test_wsgi import send
from tests.support import World, make_client

PARTITIONS = {each["id"]: each["regions"] for each in Loader().load_data("partitions")["partitions"]}
#: One region of each partition.
REGIONS = {name: next(each for each in known if not each.endswith("-global")) for name, known in PARTITIONS.items()}
UNKNOWN = (
    "us-east-9",
    "{region}",
    "{{ var.value.region }}",
    "None",
    "nowhere",
    "aws-global",
    "US-EAST-1",
    "us-east-1a",
    "*",
)


class Elsewhere(World):
    """An account in another region."""

    region = "us-east-1"

    def _make_client(self, service: str) -> Any:
        keys = {"aws_access_key_id": self.account, "aws_secret_access_key": "secret"}
        return make_client(service, endpoint_url=self.emulator.url, region_name=self.region, **keys)

    def create_bucket(self) -> None:
        where = {"LocationConstraint": self.region}
        self.client("s3").create_bucket(Bucket=self.bucket, CreateBucketConfiguration=where)

    @property
    def role(self) -> str:
        return super().role.replace("arn:aws:", f"arn:{regions.get_partition(self.region)}:")


def elsewhere(world: World, region: str) -> Elsewhere:
    found = Elsewhere(world.emulator)
    found.region = region
    return found


def arns(value: Any) -> list[str]:
    """Every ARN of an answer."""
    return re.findall(r'"(arn:[^"]+)"', json.dumps(value, default=str))


@pytest.mark.parametrize(("partition", "region"), REGIONS.items())
def test_an_arn_has_the_partition_of_its_region(empty_world: World, partition: str, region: str) -> None:
    there = elsewhere(empty_world, region)
    arn = there.create_dataset()
    start = f"arn:{partition}:cleanrooms-ml:{region}:{there.account}:"
    assert arn.startswith(f"{start}training-dataset/")
    assert there.ml.get_training_dataset(trainingDatasetArn=arn)["trainingDatasetArn"] == arn
    there.ml.tag_resource(resourceArn=arn, tags={"a": "1"})
    assert there.ml.list_tags_for_resource(resourceArn=arn)["tags"] == {"a": "1"}
    rooms = there.client("cleanrooms")
    made = rooms.create_collaboration(
        name="c",
        description="d",
        creatorDisplayName="creator",
        creatorMemberAbilities=["CAN_QUERY"],
        members=[],
        queryLogStatus="DISABLED",
    )["collaboration"]
    membership = rooms.create_membership(collaborationIdentifier=made["id"], queryLogStatus="DISABLED")["membership"]
    image = {"imageUri": f"{there.account}.dkr.ecr.{region}.amazonaws.com/image:1"}
    algorithm = there.ml.create_configured_model_algorithm(name="a", roleArn=there.role, trainingContainerConfig=image)[
        "configuredModelAlgorithmArn"
    ]
    association = there.ml.create_configured_model_algorithm_association(
        membershipIdentifier=membership["id"], name="a", configuredModelAlgorithmArn=algorithm
    )["configuredModelAlgorithmAssociationArn"]
    assert association.startswith(f"{start}membership/{membership['id']}/configured-model-algorithm-association/")
    found = arns([made, membership, algorithm, association])
    assert {each.split(":")[1] for each in found} == {partition}


def test_a_policy_that_clean_rooms_manages_has_the_partition_of_its_region(empty_world: World) -> None:
    there, partner = elsewhere(empty_world, "us-gov-west-1"), elsewhere(empty_world, "us-gov-west-1")
    there.build()
    rooms = there.client("cleanrooms")
    identifier = rooms.create_collaboration(
        name="c",
        description="d",
        creatorDisplayName="creator",
        creatorMemberAbilities=["CAN_QUERY"],
        members=[{"accountId": partner.account, "displayName": "p", "memberAbilities": []}],
        queryLogStatus="DISABLED",
    )["collaboration"]["id"]
    membership = rooms.create_membership(collaborationIdentifier=identifier, queryLogStatus="DISABLED")["membership"]
    model = there.create_configured_model()
    rooms.create_configured_audience_model_association(
        membershipIdentifier=membership["id"],
        configuredAudienceModelArn=model,
        configuredAudienceModelAssociationName="a",
        manageResourcePolicies=True,
    )
    policy = there.ml.get_configured_audience_model_policy(configuredAudienceModelArn=model)
    [statement] = json.loads(policy["configuredAudienceModelPolicy"])["Statement"]
    jobs = f"arn:aws-us-gov:cleanrooms-ml:us-gov-west-1:{there.account}:audience-generation-job/*"
    assert statement["Resource"] == [model, jobs]


def test_a_role_of_another_partition_is_rejected(empty_world: World) -> None:
    there = elsewhere(empty_world, "cn-north-1")
    arguments = {"name": "d", "trainingData": there.build_training_data()}
    other = f"arn:aws:iam::{there.account}:role/r"
    answer = expect_refusal("AccessDeniedException", there.ml.create_training_dataset, **arguments, roleArn=other)
    assert other in answer["Error"]["Message"]


@pytest.mark.parametrize("region", UNKNOWN)
@pytest.mark.parametrize(("service", "path"), [("cleanrooms-ml", "/training-dataset"), ("cleanrooms", "/memberships")])
def test_an_unknown_region_is_rejected(empty_world: World, service: str, path: str, region: str) -> None:
    answer = send(empty_world, "GET", path, service=service, region=region)
    assert answer.error == (403, "InvalidSignatureException")
    assert answer.json["message"].startswith(f"Credential should be scoped to a valid region, not '{region}'.")


def test_nothing_is_created_in_an_unknown_region(empty_world: World) -> None:
    body = {"name": "d", "roleArn": empty_world.role, "trainingData": empty_world.build_training_data()}
    assert send(empty_world, "POST", "/training-dataset", body, region="us-east-9").status == 403
    assert send(empty_world, "POST", "/training-dataset", body).status == 200


@pytest.mark.parametrize("region", sorted({each for known in PARTITIONS.values() for each in known}))
def test_every_region_in_botocores_data_is_known(region: str) -> None:
    found = regions.get_partition(region)
    assert found == (
        "" if region.endswith("-global") else next(n for n, known in PARTITIONS.items() if region in known)
    )


PATTERNS = [
    pytest.param(shape.metadata["pattern"], id=name)
    for name in load().shape_names
    for shape in [load().shape_for(name)]
    if str(shape.metadata.get("pattern", "")).startswith("arn:aws[-a-z]*:cleanrooms-ml:")
]


@pytest.mark.parametrize("partition", REGIONS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_model_accepts_arns_of_every_partition(pattern: str, partition: str) -> None:
    sample = next(arn for arn in ARNS if re.fullmatch(pattern, arn, re.ASCII))
    _, _, service, _, account, path = sample.split(":", 5)
    arn = f"arn:{partition}:{service}:{REGIONS[partition]}:{account}:{path}"
    assert re.fullmatch(pattern, arn, re.ASCII), f"{arn} does not match {pattern}"
