"""A collaboration of accounts in the emulator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.support import World

QUERY = ["CAN_QUERY", "CAN_RECEIVE_RESULTS"]
MODEL_OUTPUT, INFERENCE_OUTPUT = "CAN_RECEIVE_MODEL_OUTPUT", "CAN_RECEIVE_INFERENCE_OUTPUT"


@dataclass
class Collaboration:
    """Identifier of a collaboration, and the membership of each account."""

    id: str
    memberships: dict[str, str]

    def find_membership(self, world: World) -> str:
        """The membership of an account."""
        return self.memberships[world.account]


def collaborate(provider: World, *others: World) -> Collaboration:
    """
    Create a collaboration as the provider, and join it with all accounts.

    The first other, or the provider if alone, can query and receive models and inference output; the provider can receive models.
    """
    worlds = (provider, *others)
    runner = worlds[1] if others else provider
    creator, *members = (_build_abilities(world, provider, runner) for world in worlds)
    made = provider.client("cleanrooms").create_collaboration(
        name="collaboration",
        description="of the tests",
        creatorDisplayName=creator["displayName"],
        creatorMemberAbilities=creator["memberAbilities"],
        creatorMLMemberAbilities=creator["mlMemberAbilities"],
        members=members,
        queryLogStatus="DISABLED",
    )["collaboration"]
    return Collaboration(made["id"], {world.account: join_collaboration(world, made["id"]) for world in worlds})


def join_collaboration(world: World, collaboration: str) -> str:
    """Accept an invitation; returns the identifier of the membership."""
    made = world.client("cleanrooms").create_membership(
        collaborationIdentifier=collaboration, queryLogStatus="DISABLED"
    )
    return str(made["membership"]["id"])


def _build_abilities(world: World, provider: World, runner: World) -> dict[str, Any]:
    both, model = [MODEL_OUTPUT, INFERENCE_OUTPUT], [MODEL_OUTPUT]
    return {
        "accountId": world.account,
        "displayName": f"member {world.account}",
        "memberAbilities": QUERY if world is runner else [],
        "mlMemberAbilities": {
            "customMLMemberAbilities": both if world is runner else model if world is provider else []
        },
    }
