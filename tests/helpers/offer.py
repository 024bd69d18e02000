"""A configured audience model that a partner may use."""

from __future__ import annotations

from tests.helpers.collaboration import Collaboration, collaborate
from tests.support import World


class Offer:
    """A model that a partner may use."""

    def __init__(self, owner: World, partner: World) -> None:
        self.owner, self.partner = owner, partner
        self.collaboration: Collaboration = collaborate(owner, partner)
        self.model = owner.create_configured_model()
        owner.client("cleanrooms").create_configured_audience_model_association(
            membershipIdentifier=self.collaboration.find_membership(owner),
            configuredAudienceModelArn=self.model,
            configuredAudienceModelAssociationName="offer",
            manageResourcePolicies=True,
        )

    def start_job(self, world: World, name: str) -> str:
        made = world.ml.start_audience_generation_job(
            name=name,
            configuredAudienceModelArn=self.model,
            seedAudience=world.write_seed(),
            collaborationId=self.collaboration.id,
        )
        return str(made["audienceGenerationJobArn"])
