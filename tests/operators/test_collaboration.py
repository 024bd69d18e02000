from __future__ import annotations

from typing import Any

import pytest

from airflow_cleanroomsml.exceptions import AlreadyExistsError, InvalidRequestError, ResourceNotFoundError
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from airflow_cleanroomsml.operators import (
    CleanRoomsCreateConfiguredAudienceModelAssociationOperator,
    CleanRoomsDeleteConfiguredAudienceModelAssociationOperator,
    CleanRoomsFindConfiguredAudienceModelOperator,
    CleanRoomsFindMembershipOperator,
    CleanRoomsUpdateConfiguredAudienceModelAssociationOperator,
)
from tests.helpers.collaboration import Collaboration, collaborate
from tests.support import EmulatorProcess, TaskInstance, World, run

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
        "membership_identifier": together.find_membership(world),
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
    assert found.result == together.find_membership(world)


def test_a_collaboration_that_one_is_no_member_of_is_named(world: World) -> None:
    with pytest.raises(ResourceNotFoundError, match=f"collaboration_identifier: .*{NONE}"):
        run(CleanRoomsFindMembershipOperator(task_id="t", collaboration_identifier=NONE))


def test_an_association_is_made_changed_found_and_deleted(world: World, together: Collaboration) -> None:
    model = world.create_configured_model()
    made = associate(together, world, model)
    identifiers = {
        "membership_identifier": together.find_membership(world),
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
    with pytest.raises(ResourceNotFoundError, match="has 0 configured audience models.*\n  No member has associated"):
        find(together)


def test_one_of_the_same_name_is_reused_if_it_is_what_is_asked_for(world: World, together: Collaboration) -> None:
    model = world.create_configured_model()
    first = associate(together, world, model)
    again = associate(together, world, model, if_exists="reuse", description="does not matter")
    assert (again.result, again.pushed) == (first.result, first.pushed)
    with pytest.raises(AlreadyExistsError, match=first.result):
        associate(together, world, model)
    other = world.create_configured_model("other")
    with pytest.raises(AlreadyExistsError, match="configured_audience_model_arn"):
        associate(together, world, other, if_exists="reuse")


def test_a_lost_answer_is_looked_for(world: World, together: Collaboration) -> None:
    model = world.create_configured_model()
    world.add_fault("CreateConfiguredAudienceModelAssociation", "lose_response")
    made = associate(together, world, model, if_exists="reuse")
    assert world.calls.count("CreateConfiguredAudienceModelAssociation") == 1
    assert made.pushed["configured_audience_model_association_arn"].endswith(made.result)


def test_several_offers_have_to_be_told_apart(world: World, together: Collaboration) -> None:
    first, second = world.create_configured_model("first"), world.create_configured_model("second")
    associate(together, world, first, configured_audience_model_association_name="first")
    associate(together, world, second, configured_audience_model_association_name="second")
    with pytest.raises(ResourceNotFoundError, match=f"has 2 .*\n.*'first' of account {world.account}"):
        find(together)
    assert find(together, association_name="second").result == second
    with pytest.raises(ResourceNotFoundError, match="'first', 'second'"):
        find(together, association_name="third")
    with pytest.raises(ResourceNotFoundError):
        find(together, creator_account_id="000000000000")


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"creator_account_id": 1234}, "creator_account_id: .* has 4 characters; allowed: 12 characters"),
        ({"creator_account_id": "a partner's"}, "creator_account_id: "),
        ({"association_name": " "}, "association_name: ' ' does not match; pattern: "),
        ({"association_name": True}, "association_name: True is a bool; must be a string"),
        (
            {"collaboration_identifier": NONE.replace("8", "F")},
            "collaboration_identifier: .* does not match; pattern: ",
        ),
        ({"collaboration_identifier": "None"}, "collaboration_identifier: 'None' has 4 characters"),
        ({"collaboration_identifier": None}, "collaboration_identifier: missing; required"),
    ],
)
def test_what_would_never_be_found_is_refused(world: World, more: dict[str, Any], problem: str) -> None:
    operator = CleanRoomsFindConfiguredAudienceModelOperator
    with pytest.raises(InvalidRequestError, match=problem):
        run(operator(**{"task_id": "t", "collaboration_identifier": NONE, **more}))
    assert world.calls == []


@pytest.mark.parametrize("given", [NONE.replace("8", "F"), 5, "", "None", None])
def test_a_collaboration_that_cannot_be_is_refused(world: World, given: Any) -> None:
    with pytest.raises(InvalidRequestError, match="collaboration_identifier: "):
        run(CleanRoomsFindMembershipOperator(task_id="t", collaboration_identifier=given))
    assert world.calls == []


def test_what_a_template_renders_to_is_what_the_listing_says(world: World, together: Collaboration) -> None:
    model = world.create_configured_model()
    associate(together, world, model, configured_audience_model_association_name="2026")
    assert find(together, association_name=2026, creator_account_id=int(world.account)).result == model
    assert find(together, association_name="2026", creator_account_id="{{ none }}").result == model


class TestGoneWhenItIsRead:
    """The listing has shown it a moment ago."""

    GET = "GetConfiguredAudienceModelAssociation"

    def build(self, together: Collaboration, world: World, model: str) -> Any:
        return CleanRoomsCreateConfiguredAudienceModelAssociationOperator(
            task_id="task",
            membership_identifier=together.find_membership(world),
            configured_audience_model_arn=model,
            configured_audience_model_association_name="offer",
            manage_resource_policies=True,
        )

    def make(self, together: Collaboration, world: World, model: str, ti: TaskInstance) -> Any:
        return run(self.build(together, world, model), ti=ti).result

    def test_a_retry_does_not_fail(self, world: World, together: Collaboration) -> None:
        model, ti = world.create_configured_model(), TaskInstance()
        first = self.make(together, world, model, ti)
        world.add_fault(self.GET, "stale_read", seconds=3600)
        assert self.make(together, world, model, ti.make_next_try()) == first

    def test_a_retry_makes_another_of_what_was_deleted(self, world: World, together: Collaboration) -> None:
        model, ti = world.create_configured_model(), TaskInstance()
        first = self.make(together, world, model, ti)
        client: Any = CleanRoomsMLHook().of("cleanrooms").conn

        def delete(**_: Any) -> None:
            client.delete_configured_audience_model_association(
                membershipIdentifier=together.find_membership(world), configuredAudienceModelAssociationIdentifier=first
            )

        operator = self.build(together, world, model)
        operator.hook.of("cleanrooms").conn.meta.events.register(f"before-call.cleanrooms.{self.GET}", delete)
        assert run(operator, ti=ti.make_next_try()).result != first

    def test_it_is_no_offer(self, world: World, together: Collaboration) -> None:
        model = world.create_configured_model()
        associate(together, world, model)
        get = "GetCollaborationConfiguredAudienceModelAssociation"
        world.add_fault(get, "stale_read", seconds=3600)
        with pytest.raises(ResourceNotFoundError, match="has 0 configured audience models"):
            find(together)
        associate(
            together, world, world.create_configured_model("other"), configured_audience_model_association_name="other"
        )
        world.add_fault(get, "stale_read", seconds=3600)
        assert len(find(together).pushed["offers"]) == 1
