from __future__ import annotations

from typing import Any

import pytest

from airflow_cleanroomsml.exceptions import AlreadyExistsError, ResourceNotFoundError
from airflow_cleanroomsml.operators import (
    CleanRoomsCreateConfiguredAudienceModelAssociationOperator,
    CleanRoomsDeleteConfiguredAudienceModelAssociationOperator,
    CleanRoomsFindConfiguredAudienceModelOperator,
    CleanRoomsFindMembershipOperator,
    CleanRoomsUpdateConfiguredAudienceModelAssociationOperator,
)
from tests.collaboration import Collaboration, collaborate
from tests.support import EmulatorProcess, World, run

NONE = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def partner(emulator: EmulatorProcess) -> World:
    return World(emulator)


@pytest.fixture
def together(world: World, partner: World) -> Collaboration:
    """``aws_default`` leads to the account that offers the model."""
    return collaborate(world, partner)


def associate(together: Collaboration, world: World, model: str, **more: Any) -> Any:
    arguments = {
        "task_id": "t",
        "membership_identifier": together.of(world),
        "configured_audience_model_arn": model,
        "configured_audience_model_association_name": "offer",
        "manage_resource_policies": "{{ True }}",
        **more,
    }
    return run(CleanRoomsCreateConfiguredAudienceModelAssociationOperator(**arguments))


def find(together: Collaboration, **more: Any) -> Any:
    return run(CleanRoomsFindConfiguredAudienceModelOperator(task_id="t", collaboration_identifier=together.id, **more))


def test_the_membership_is_the_callers_own(world: World, together: Collaboration) -> None:
    found = run(CleanRoomsFindMembershipOperator(task_id="t", collaboration_identifier=together.id))
    assert found.result == together.of(world)


def test_a_collaboration_that_one_is_no_member_of_is_named(world: World) -> None:
    with pytest.raises(ResourceNotFoundError, match=f"collaboration_identifier: .*{NONE}"):
        run(CleanRoomsFindMembershipOperator(task_id="t", collaboration_identifier=NONE))


def test_an_association_is_made_changed_found_and_deleted(world: World, together: Collaboration) -> None:
    model = world.configured()
    made = associate(together, world, model)
    identifiers = {
        "membership_identifier": together.of(world),
        "configured_audience_model_association_identifier": made.result,
    }
    arn = made.pushed["configured_audience_model_association_arn"]
    assert arn.endswith(made.result)
    assert arn.split(":")[2:5:2] == ["cleanrooms", world.account]
    run(CleanRoomsUpdateConfiguredAudienceModelAssociationOperator(task_id="t", name="new", **identifiers))
    found = find(together, association_name="new")
    assert found.result == model
    assert found.pushed["offers"] == [
        {
            "configured_audience_model_arn": model,
            "association_identifier": made.result,
            "name": "new",
            "creator_account_id": world.account,
        }
    ]
    for _ in range(2):
        run(CleanRoomsDeleteConfiguredAudienceModelAssociationOperator(task_id="t", **identifiers))
    with pytest.raises(ResourceNotFoundError, match="has 0 configured audience models.*\n.*none"):
        find(together)


def test_one_of_the_same_name_is_reused_if_it_is_what_is_asked_for(world: World, together: Collaboration) -> None:
    model = world.configured()
    first = associate(together, world, model)
    again = associate(together, world, model, if_exists="reuse", description="does not matter")
    assert (again.result, again.pushed) == (first.result, first.pushed)
    with pytest.raises(AlreadyExistsError, match=first.result):
        associate(together, world, model)
    other = world.configured("other")
    with pytest.raises(AlreadyExistsError, match="configured_audience_model_arn"):
        associate(together, world, other, if_exists="reuse")


def test_a_lost_answer_is_looked_for(world: World, together: Collaboration) -> None:
    model = world.configured()
    world.fault("CreateConfiguredAudienceModelAssociation", "lose_response")
    made = associate(together, world, model, if_exists="reuse")
    assert world.calls.count("CreateConfiguredAudienceModelAssociation") == 1
    assert made.pushed["configured_audience_model_association_arn"].endswith(made.result)


def test_several_offers_have_to_be_told_apart(world: World, together: Collaboration) -> None:
    first, second = world.configured("first"), world.configured("second")
    associate(together, world, first, configured_audience_model_association_name="first")
    associate(together, world, second, configured_audience_model_association_name="second")
    with pytest.raises(ResourceNotFoundError, match=f"has 2 .*\n.*'first' of account {world.account}"):
        find(together)
    assert find(together, association_name="second").result == second
    with pytest.raises(ResourceNotFoundError, match="'first', 'second'"):
        find(together, association_name="third")
    with pytest.raises(ResourceNotFoundError):
        find(together, creator_account_id="000000000000")
