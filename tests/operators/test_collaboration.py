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

UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def partner(emulator: EmulatorProcess) -> World:
    return World(emulator)


@pytest.fixture
def collaboration(world: World, partner: World) -> Collaboration:
    """``aws_default`` connects to the account that offers the model."""
    return collaborate(world, partner)


def associate(collaboration: Collaboration, world: World, model: str, **more: Any) -> Any:
    arguments = {
        "task_id": "t",
        "membership_identifier": collaboration.find_membership(world),
        "configured_audience_model_arn": model,
        "configured_audience_model_association_name": "offer",
        "manage_resource_policies": "{{ True }}",
        **more,
    }
    return run(CleanRoomsCreateConfiguredAudienceModelAssociationOperator(**arguments))


def find(collaboration: Collaboration, **more: Any) -> Any:
    return run(
        CleanRoomsFindConfiguredAudienceModelOperator(task_id="t", collaboration_identifier=collaboration.id, **more)
    )


def test_membership_of_caller_is_found(world: World, collaboration: Collaboration) -> None:
    lookup = run(CleanRoomsFindMembershipOperator(task_id="t", collaboration_identifier=collaboration.id))
    assert lookup.result == collaboration.find_membership(world)


def test_error_names_unknown_collaboration(world: World) -> None:
    with pytest.raises(ResourceNotFoundError, match=f"collaboration_identifier: .*{UNKNOWN_ID}"):
        run(CleanRoomsFindMembershipOperator(task_id="t", collaboration_identifier=UNKNOWN_ID))


def test_association_is_created_updated_found_and_deleted(world: World, collaboration: Collaboration) -> None:
    model = world.create_configured_model()
    created = associate(collaboration, world, model)
    identifiers = {
        "membership_identifier": collaboration.find_membership(world),
        "configured_audience_model_association_identifier": created.result,
    }
    arn = created.pushed["configured_audience_model_association_arn"]
    assert arn.endswith(created.result)
    assert arn.split(":")[2:5:2] == ["cleanrooms", world.account]
    run(CleanRoomsUpdateConfiguredAudienceModelAssociationOperator(task_id="t", name="new", **identifiers))
    lookup = find(collaboration, association_name="new")
    assert lookup.result == model
    assert lookup.pushed["offers"] == [
        {
            "configured_audience_model_arn": model,
            "association_identifier": created.result,
            "name": "new",
            "creator_account_id": world.account,
        }
    ]
    for _ in range(2):
        run(CleanRoomsDeleteConfiguredAudienceModelAssociationOperator(task_id="t", **identifiers))
    with pytest.raises(ResourceNotFoundError, match="has 0 configured audience models.*\n  No member has associated"):
        find(collaboration)


def test_association_is_reused_if_it_matches_request(world: World, collaboration: Collaboration) -> None:
    model = world.create_configured_model()
    first = associate(collaboration, world, model)
    reused = associate(collaboration, world, model, if_exists="reuse", description="does not matter")
    assert (reused.result, reused.pushed) == (first.result, first.pushed)
    with pytest.raises(AlreadyExistsError, match=first.result):
        associate(collaboration, world, model)
    other = world.create_configured_model("other")
    with pytest.raises(AlreadyExistsError, match="configured_audience_model_arn"):
        associate(collaboration, world, other, if_exists="reuse")


def test_lost_response_is_looked_up(world: World, collaboration: Collaboration) -> None:
    model = world.create_configured_model()
    world.add_fault("CreateConfiguredAudienceModelAssociation", "lose_response")
    task_run = associate(collaboration, world, model, if_exists="reuse")
    assert world.calls.count("CreateConfiguredAudienceModelAssociation") == 1
    assert task_run.pushed["configured_audience_model_association_arn"].endswith(task_run.result)


def test_find_rejects_ambiguous_offers(world: World, collaboration: Collaboration) -> None:
    first, second = world.create_configured_model("first"), world.create_configured_model("second")
    associate(collaboration, world, first, configured_audience_model_association_name="first")
    associate(collaboration, world, second, configured_audience_model_association_name="second")
    with pytest.raises(ResourceNotFoundError, match=f"has 2 .*\n.*'first' of account {world.account}"):
        find(collaboration)
    assert find(collaboration, association_name="second").result == second
    with pytest.raises(ResourceNotFoundError, match="'first', 'second'"):
        find(collaboration, association_name="third")
    with pytest.raises(ResourceNotFoundError):
        find(collaboration, creator_account_id="000000000000")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"creator_account_id": 1234}, "creator_account_id: .* has 4 characters; allowed: 12 characters"),
        ({"creator_account_id": "a partner's"}, "creator_account_id: "),
        ({"association_name": " "}, "association_name: ' ' does not match; pattern: "),
        ({"association_name": True}, "association_name: True is a bool; must be a string"),
        (
            {"collaboration_identifier": UNKNOWN_ID.replace("8", "F")},
            "collaboration_identifier: .* does not match; pattern: ",
        ),
        ({"collaboration_identifier": "None"}, "collaboration_identifier: 'None' has 4 characters"),
        ({"collaboration_identifier": None}, "collaboration_identifier: missing; required"),
    ],
)
def test_invalid_lookup_is_rejected(world: World, arguments: dict[str, Any], problem: str) -> None:
    operator = CleanRoomsFindConfiguredAudienceModelOperator
    with pytest.raises(InvalidRequestError, match=problem):
        run(operator(**{"task_id": "t", "collaboration_identifier": UNKNOWN_ID, **arguments}))
    assert world.calls == []


@pytest.mark.parametrize("identifier", [UNKNOWN_ID.replace("8", "F"), 5, "", "None", None])
def test_invalid_collaboration_is_rejected(world: World, identifier: Any) -> None:
    with pytest.raises(InvalidRequestError, match="collaboration_identifier: "):
        run(CleanRoomsFindMembershipOperator(task_id="t", collaboration_identifier=identifier))
    assert world.calls == []


def test_rendered_numbers_match_listing(world: World, collaboration: Collaboration) -> None:
    model = world.create_configured_model()
    associate(collaboration, world, model, configured_audience_model_association_name="2026")
    assert find(collaboration, association_name=2026, creator_account_id=int(world.account)).result == model
    assert find(collaboration, association_name="2026", creator_account_id="{{ none }}").result == model


class TestAssociationThatIsGone:
    """The listing still shows an association that a read does not find."""

    GET = "GetConfiguredAudienceModelAssociation"

    def build_operator(self, collaboration: Collaboration, world: World, model: str) -> Any:
        return CleanRoomsCreateConfiguredAudienceModelAssociationOperator(
            task_id="task",
            membership_identifier=collaboration.find_membership(world),
            configured_audience_model_arn=model,
            configured_audience_model_association_name="offer",
            manage_resource_policies=True,
        )

    def create(self, collaboration: Collaboration, world: World, model: str, ti: TaskInstance) -> Any:
        return run(self.build_operator(collaboration, world, model), ti=ti).result

    def test_retry_still_reuses_it(self, world: World, collaboration: Collaboration) -> None:
        model, ti = world.create_configured_model(), TaskInstance()
        first = self.create(collaboration, world, model, ti)
        world.add_fault(self.GET, "stale_read", seconds=3600)
        assert self.create(collaboration, world, model, ti.make_next_try()) == first

    def test_retry_replaces_deleted_association(self, world: World, collaboration: Collaboration) -> None:
        model, ti = world.create_configured_model(), TaskInstance()
        first = self.create(collaboration, world, model, ti)
        client: Any = CleanRoomsMLHook().of("cleanrooms").conn

        def delete(**_: Any) -> None:
            client.delete_configured_audience_model_association(
                membershipIdentifier=collaboration.find_membership(world),
                configuredAudienceModelAssociationIdentifier=first,
            )

        operator = self.build_operator(collaboration, world, model)
        operator.hook.of("cleanrooms").conn.meta.events.register(f"before-call.cleanrooms.{self.GET}", delete)
        assert run(operator, ti=ti.make_next_try()).result != first

    def test_find_skips_it(self, world: World, collaboration: Collaboration) -> None:
        model = world.create_configured_model()
        associate(collaboration, world, model)
        get = "GetCollaborationConfiguredAudienceModelAssociation"
        world.add_fault(get, "stale_read", seconds=3600)
        with pytest.raises(ResourceNotFoundError, match="has 0 configured audience models"):
            find(collaboration)
        associate(
            collaboration,
            world,
            world.create_configured_model("other"),
            configured_audience_model_association_name="other",
        )
        world.add_fault(get, "stale_read", seconds=3600)
        assert len(find(collaboration).pushed["offers"]) == 1
