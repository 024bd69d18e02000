"""Where the tests run: an account in the emulator, or one of AWS."""

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
    """An account to which boto3 and the connection ``aws_default`` lead."""

    @property
    def title(self) -> str:
        """What it is called in reports."""

    @property
    def real(self) -> bool:
        """Whether its answers are news, or those of the emulator."""

    def client(self, service: str, **more: Any) -> Any:
        """A boto3 client in it."""

    def needed(self, name: str) -> str:
        """A thing that is there already, one of ``user.NEEDED``."""


@dataclass
class EmulatedAccount:
    """An account of the emulator; it has everything."""

    world: World
    _known: dict[str, str] = field(default_factory=dict)
    title = "the emulator"
    real = False

    def client(self, service: str, **more: Any) -> Any:
        account = {"aws_access_key_id": self.world.account, "aws_secret_access_key": "secret"}
        return make_client(service, endpoint_url=self.world.emulator.url, region_name=REGION, **account, **more)

    def needed(self, name: str) -> str:
        if name not in self._known:
            self._known[name] = self._made(name)
        return self._known[name]

    def _made(self, name: str) -> str:
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
    """The account that the user's own environment leads to."""

    real = True

    def __init__(self) -> None:
        self._session: Any = boto3.Session()
        if self._session.get_credentials() is None or not self._session.region_name:
            pytest.fail(f"{user.SWITCH} is set, but boto3 finds no credentials or no region: set AWS_PROFILE")

        elsewhere = sorted(name for name in os.environ if name.startswith("AWS_ENDPOINT_URL"))
        self.title = f"the service at {' and '.join(elsewhere)} (not AWS)" if elsewhere else "AWS"

    def client(self, service: str, **more: Any) -> Any:
        return self._session.client(service, **more)

    def needed(self, name: str) -> str:
        return user.needed(name)
