"""The account in which the tests run: in the emulator or on AWS."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Protocol

import boto3
import pytest

from tests.aws import user
from tests.helpers.collaboration import collaborate
from tests.support import REGION, World, make_client


class Account(Protocol):
    """The account that boto3 and the connection ``aws_default`` use."""

    @property
    def title(self) -> str:
        """Its name in reports."""

    @property
    def real(self) -> bool:
        """Whether its responses come from a real account instead of the emulator."""

    def client(self, service: str, **more: Any) -> Any:
        """Make a boto3 client of the account."""

    def read_requirement(self, name: str) -> str:
        """Return an existing resource, one of ``user.REQUIREMENTS``."""


@dataclass
class EmulatedAccount:
    """An account of the emulator, in which every required resource is created on demand."""

    world: World
    _values: dict[str, str] = field(default_factory=dict)
    title = "the emulator"
    real = False

    def client(self, service: str, **more: Any) -> Any:
        account = {"aws_access_key_id": self.world.account, "aws_secret_access_key": "secret"}
        return make_client(service, endpoint_url=self.world.emulator.url, region_name=REGION, **account, **more)

    def read_requirement(self, name: str) -> str:
        if name not in self._values:
            self._values[name] = self._find_or_create(name)
        return self._values[name]

    def _find_or_create(self, name: str) -> str:
        image = f"{self.world.account}.dkr.ecr.us-east-1.amazonaws.com/train:1"
        plain = {
            "ROLE_ARN": self.world.role,
            "GLUE_DATABASE": "lookalike",
            "GLUE_TABLE": "interactions",
            "BUCKET": self.world.bucket,
            "IMAGE_URI": image,
        }
        if name in plain:
            return plain[name]
        if name == "SEED_URI":
            return str(self.world.write_seed()["dataSource"]["s3Uri"])
        return (
            self.world.train_model()
            if name == "AUDIENCE_MODEL_ARN"
            else collaborate(self.world).find_membership(self.world)
        )


class AwsAccount:
    """The account of the user's own environment."""

    real = True

    def __init__(self) -> None:
        self._session: Any = boto3.Session()
        if self._session.get_credentials() is None or not self._session.region_name:
            pytest.fail(f"{user.SWITCH} is set, but boto3 finds no credentials or no region: set AWS_PROFILE")

        endpoints = sorted(name for name in os.environ if name.startswith("AWS_ENDPOINT_URL"))
        self.title = f"the service at {' and '.join(endpoints)} (not AWS)" if endpoints else "AWS"

    def client(self, service: str, **more: Any) -> Any:
        return self._session.client(service, **more)

    def read_requirement(self, name: str) -> str:
        return user.read_requirement(name)
