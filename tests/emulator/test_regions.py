"""Regions: every ARN has the partition of its region, and a region that AWS does not have is rejected."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from botocore.loaders import Loader

from airflow_cleanroomsml._requests.request import load
from airflow_cleanroomsml.emulator import regions
from tests.emulator.clocked_world import expect_error
from tests.emulator.test_wire import ARNS
from tests.emulator.test_wsgi import send
from tests.support import World, make_client

PARTITIONS = {partition["id"]: partition["regions"] for partition in Loader().load_data("partitions")["partitions"]}
#: One region of each partition.
REGIONS = {
    name: next(region for region in names if not region.endswith("-global")) for name, names in PARTITIONS.items()
}
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


class RegionalWorld(World):
    """An account in a certain region."""

    region = "us-east-1"

    def _make_client(self, service: str) -> Any:
        keys = {"aws_access_key_id": self.account, "aws_secret_access_key": "secret"}
        return make_client(service, endpoint_url=self.emulator.url, region_name=self.region, **keys)

    def create_bucket(self) -> None:
        configuration = {"LocationConstraint": self.region}
        self.client("s3").create_bucket(Bucket=self.bucket, CreateBucketConfiguration=configuration)

    @property
    def role(self) -> str:
        return super().role.replace("arn:aws:", f"arn:{regions.get_partition(self.region)}:")


def build_regional_world(world: World, region: str) -> RegionalWorld:
    regional = RegionalWorld(world.emulator)
    regional.region = region
    return regional


def find_arns(value: Any) -> list[str]:
    """Find every ARN in a response."""
    return re.findall(r'"(arn:[^"]+)"', json.dumps(value, default=str))


@pytest.mark.parametrize(("partition", "region"), REGIONS.items())
def test_arn_has_partition_of_its_region(empty_world: World, partition: str, region: str) -> None:
    regional = build_regional_world(empty_world, region)
    arn = regional.create_dataset()
    prefix = f"arn:{partition}:cleanrooms-ml:{region}:{regional.account}:"
    assert arn.startswith(f"{prefix}training-dataset/")
    assert regional.ml.get_training_dataset(trainingDatasetArn=arn)["trainingDatasetArn"] == arn
    regional.ml.tag_resource(resourceArn=arn, tags={"a": "1"})
    assert regional.ml.list_tags_for_resource(resourceArn=arn)["tags"] == {"a": "1"}
    rooms = regional.client("cleanrooms")
    collaboration = rooms.create_collaboration(
        name="c",
        description="d",
        creatorDisplayName="creator",
        creatorMemberAbilities=["CAN_QUERY"],
        members=[],
        queryLogStatus="DISABLED",
    )["collaboration"]
    membership = rooms.create_membership(collaborationIdentifier=collaboration["id"], queryLogStatus="DISABLED")[
        "membership"
    ]
    image = {"imageUri": f"{regional.account}.dkr.ecr.{region}.amazonaws.com/image:1"}
    algorithm = regional.ml.create_configured_model_algorithm(
        name="a", roleArn=regional.role, trainingContainerConfig=image
    )["configuredModelAlgorithmArn"]
    association = regional.ml.create_configured_model_algorithm_association(
        membershipIdentifier=membership["id"], name="a", configuredModelAlgorithmArn=algorithm
    )["configuredModelAlgorithmAssociationArn"]
    assert association.startswith(f"{prefix}membership/{membership['id']}/configured-model-algorithm-association/")
    arns = find_arns([collaboration, membership, algorithm, association])
    assert {found_arn.split(":")[1] for found_arn in arns} == {partition}


def test_managed_policy_has_partition_of_its_region(empty_world: World) -> None:
    regional = build_regional_world(empty_world, "us-gov-west-1")
    partner = build_regional_world(empty_world, "us-gov-west-1")
    regional.build()
    rooms = regional.client("cleanrooms")
    identifier = rooms.create_collaboration(
        name="c",
        description="d",
        creatorDisplayName="creator",
        creatorMemberAbilities=["CAN_QUERY"],
        members=[{"accountId": partner.account, "displayName": "p", "memberAbilities": []}],
        queryLogStatus="DISABLED",
    )["collaboration"]["id"]
    membership = rooms.create_membership(collaborationIdentifier=identifier, queryLogStatus="DISABLED")["membership"]
    model = regional.create_configured_model()
    rooms.create_configured_audience_model_association(
        membershipIdentifier=membership["id"],
        configuredAudienceModelArn=model,
        configuredAudienceModelAssociationName="a",
        manageResourcePolicies=True,
    )
    policy = regional.ml.get_configured_audience_model_policy(configuredAudienceModelArn=model)
    [statement] = json.loads(policy["configuredAudienceModelPolicy"])["Statement"]
    jobs = f"arn:aws-us-gov:cleanrooms-ml:us-gov-west-1:{regional.account}:audience-generation-job/*"
    assert statement["Resource"] == [model, jobs]


def test_role_of_another_partition_is_rejected(empty_world: World) -> None:
    regional = build_regional_world(empty_world, "cn-north-1")
    arguments = {"name": "d", "trainingData": regional.build_training_data()}
    role = f"arn:aws:iam::{regional.account}:role/r"
    response = expect_error("AccessDeniedException", regional.ml.create_training_dataset, **arguments, roleArn=role)
    assert role in response["Error"]["Message"]


@pytest.mark.parametrize("region", UNKNOWN)
@pytest.mark.parametrize(("service", "path"), [("cleanrooms-ml", "/training-dataset"), ("cleanrooms", "/memberships")])
def test_unknown_region_is_rejected(empty_world: World, service: str, path: str, region: str) -> None:
    response = send(empty_world, "GET", path, service=service, region=region)
    assert response.error == (403, "InvalidSignatureException")
    assert response.json["message"].startswith(f"Credential should be scoped to a valid region, not '{region}'.")


def test_nothing_is_created_in_unknown_region(empty_world: World) -> None:
    body = {"name": "d", "roleArn": empty_world.role, "trainingData": empty_world.build_training_data()}
    assert send(empty_world, "POST", "/training-dataset", body, region="us-east-9").status == 403
    assert send(empty_world, "POST", "/training-dataset", body).status == 200


@pytest.mark.parametrize("region", sorted({region for names in PARTITIONS.values() for region in names}))
def test_every_region_of_botocore_is_known(region: str) -> None:
    partition = regions.get_partition(region)
    assert partition == (
        "" if region.endswith("-global") else next(name for name, names in PARTITIONS.items() if region in names)
    )


PATTERNS = [
    pytest.param(shape.metadata["pattern"], id=name)
    for name in load().shape_names
    for shape in [load().shape_for(name)]
    if str(shape.metadata.get("pattern", "")).startswith("arn:aws[-a-z]*:cleanrooms-ml:")
]


@pytest.mark.parametrize("partition", REGIONS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_model_accepts_arns_of_every_partition(pattern: str, partition: str) -> None:
    sample = next(arn for arn in ARNS if re.fullmatch(pattern, arn, re.ASCII))
    _, _, service, _, account, path = sample.split(":", 5)
    arn = f"arn:{partition}:{service}:{REGIONS[partition]}:{account}:{path}"
    assert re.fullmatch(pattern, arn, re.ASCII), f"{arn} does not match {pattern}"
