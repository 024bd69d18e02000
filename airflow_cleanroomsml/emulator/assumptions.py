"""
What the emulator decides where AWS documents nothing.

``python -m airflow_cleanroomsml.emulator.assumptions docs/assumptions.md`` writes the page.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Assumption:
    """
    A decision.

    :param what: What is not documented.
    :param choice: What the emulator does.
    :param switches: Fields of ``Settings`` that change it.
    """

    what: str
    choice: str
    switches: tuple[str, ...] = ()


ASSUMPTIONS = (
    Assumption("values of `statusDetails.statusCode`", "its own"),
    Assumption(
        "how long states last",
        "half a second pending, one second in progress or as long as the work takes; options change it",
        ("pending_seconds", "progress_seconds"),
    ),
    Assumption("how long a deletion or a cancellation takes", "a second, half of it PENDING", ("delete_seconds",)),
    Assumption(
        "unique names",
        "on every create, failed and INACTIVE resources included; `--names-not-unique` accepts all",
        ("unique_names",),
    ),
    Assumption(
        "among which resources a name is unique",
        "datasets, models, configured models, generation jobs and algorithms: account and region; audience exports: their generation job; "
        "associations, channels and inference jobs: the membership; trained models: the collaboration (documented), where versions of a "
        "model may share its name; model exports: membership, model and version",
        ("unique_names",),
    ),
    Assumption("deleting an audience model or generation job that is under way", "refused with ConflictException"),
    Assumption(
        "names that differ in case alone, and characters above U+FFFF in names",
        "are different names; are taken (the pattern of the model is malformed there)",
    ),
    Assumption("the name of a resource that was deleted", "free again once it is gone"),
    Assumption("a Glue table that is not there", "CreateTrainingDataset takes it; the audience model fails"),
    Assumption(
        "sizes of more than 20 percent",
        "taken: the API reference allows 1 to 100, the quotas of the user guide 1 to 20",
    ),
    Assumption(
        "the `collaborationId` of a generation job", "the caller must be an active member, else AccessDeniedException"
    ),
    Assumption(
        "tags that a generation job inherits",
        "all of the configured audience model's with the request's, which win where both have a key; of a job in another account's model "
        "the caller's has the request's and the owner's the model's, though the API reference can be read as none for the caller",
    ),
    Assumption(
        "request rates",
        "not limited; `--published-rates` throttles what comes faster than the user guide says, by account, region and operation; a burst, "
        "where none is published, is one second's requests; reads of collaborations, CreateMLInputChannel, GetMLInputChannel, cancelling, "
        "DeleteMLInputChannelData and all of `cleanrooms` are not limited; a refused request counts, a throttled one does not",
        ("published_rates",),
    ),
    Assumption("a policy's `previousPolicyHash` that does not match", "ValidationException"),
    Assumption("sizes where a configured audience model names none", "1, 5, 10, 15 and 20 percent"),
    Assumption(
        "interactions that count",
        "those inside the training window; users with fewer than two there are left out, and percentages are of the others, rounded up",
    ),
    Assumption(
        "broken rows",
        "an empty or missing user, item or timestamp fails the job, as does a row or file that cannot be read",
    ),
    Assumption(
        "timestamps",
        "between 1e8 and 1e11, so milliseconds are told from seconds; text columns of Glue type `timestamp` as ISO 8601",
    ),
    Assumption(
        "columns of a CSV file",
        "by position; a header in another order than the table's, or one that the table does not declare, fails the job",
    ),
    Assumption(
        "files",
        "CSV, JSON lines (both plain or `.gz`) and Parquet; registered partitions only; names that begin with `_` or `.` are passed over",
    ),
    Assumption("seed files", "plain UTF-8 JSON lines with `user_id` alone; an object, or a folder of them"),
    Assumption(
        "relevance",
        "how the audience's scores compare with those of held-out users of the seed (Cliff's delta, -1 to 1): 0 means as much like the "
        "seed as they are",
    ),
    Assumption("recall", "each fifth of the seed is held out once; the share of it in the largest size"),
    Assumption("a size larger than the users to choose from", "fails the generation job"),
    Assumption("seed users with `includeSeedInOutput`", "take the place that their score gives them"),
    Assumption("above the maxima", "the most active users and the most popular items are used"),
    Assumption("order of users in an exported file", "best first, a million users a file"),
    Assumption('who sees metrics with `sharedAudienceMetrics=["NONE"]`', "the model's owner only"),
    Assumption("location of an export", "not shown to an account that does not own the bucket"),
    Assumption("roles", "must be of the caller's account (documented); their permissions are not checked"),
    Assumption(
        "permissions of the caller",
        "not limited; `/_emulator/permissions` limits an account to some actions. A request then needs the actions of the service "
        "authorization reference, and those that the user guide adds: `cleanrooms:PassMembership` and `cleanrooms:PassCollaboration` for "
        "custom models, `cleanrooms:ListMembers` for a generation job in a collaboration. Resources and conditions are not evaluated; a "
        "request that breaks the service model is refused first",
    ),
    Assumption(
        "permissions for the model that an association is for",
        "creating an association needs `GetConfiguredAudienceModel`, and with `manageResourcePolicies` Get and Put of the model's policy; "
        "deleting one that is managed, or its collaboration, needs Get, Put and Delete of the policy",
    ),
    Assumption(
        "bucket policies",
        "decide on reading, writing and deleting objects, not on listing them; every request counts as encrypted (`aws:SecureTransport` "
        "is true); the principal is the role of the job, for other clients the assumed role or the root of the account; a condition on "
        "what the emulator does not know, such as `aws:SourceVpce`, `aws:PrincipalOrgID` or the encryption that a job asks for, counts "
        "as met to deny and as not met to allow; `NotPrincipal` exempts a role without its sessions being listed",
    ),
    Assumption("messages of errors", "its own; that of what is not there names its ARN or identifier"),
    Assumption(
        "what a `nextToken` is good for",
        "the operation that returned it, with the same arguments other than `maxResults`, in the same account and region; elsewhere "
        "ValidationException; it does not expire",
    ),
    Assumption(
        "a region that AWS does not have",
        "403 InvalidSignatureException; all regions that botocore lists are served, though AWS offers Clean Rooms ML in eleven",
    ),
    Assumption(
        "partitions other than `aws`",
        "ARNs have the partition of their region, and a role must be of that partition, else AccessDeniedException; most patterns of "
        "`cleanrooms` allow the partition `aws` alone, so tags of its resources cannot be changed in the others",
    ),
    Assumption("entries of a page", "100 where `maxResults` is not given; 10 versions of a trained model (documented)"),
    Assumption(
        "the size of a request",
        "10 MiB, all other services 1 GiB; more is refused with 413, before it is read",
    ),
    Assumption(
        "a page of a listing by status",
        "skips at most 1,000 resources of other statuses: it may have fewer entries than `maxResults`, even none, and a `nextToken`",
    ),
    Assumption(
        "a seed of SQL",
        "asks for a `collaborationId` in which the caller has CAN_QUERY; `dataSource` and `sqlParameters` exclude each other; nothing runs "
        "it: job and protected query fail with QUERY_FAILED and a message that quotes it; the model's owner sees no query",
    ),
    Assumption("the SQL of an ML input channel", "taken as it is and not run; records, files and sizes are left out"),
    Assumption(
        "cancelling the protected query of a channel or seed",
        "channel or job is CREATE_FAILED with QUERY_CANCELLED once the query is CANCELLED",
    ),
    Assumption(
        "trained models, exports and inference jobs", "nothing is computed or written; they succeed after their time"
    ),
    Assumption("the end of a channel's retention", "INACTIVE `retentionInDays` after it became ACTIVE"),
    Assumption(
        "when training or inference can be cancelled",
        "while CREATE_PENDING or CREATE_IN_PROGRESS; else ConflictException",
    ),
    Assumption(
        "when channel data or model output can be deleted",
        "while ACTIVE or CREATE_FAILED and no job under way reads it; else ConflictException, also where it is INACTIVE",
    ),
    Assumption(
        "what a version of a trained model is filed under",
        "the ARN of the incremental channel's model, which must be of the same membership and the version ACTIVE",
    ),
    Assumption(
        "identifier of the base version", 'the text "NULL" in every answer (documented for CreateTrainedModel only)'
    ),
    Assumption("the version that an inference or export job means when it names none", "the latest"),
    Assumption("ListTrainedModels", "an entry for each ARN: its latest version, at the place of the base version"),
    Assumption("tags of a trained model", "belong to the ARN: all versions share them"),
    Assumption(
        "the 100 versions of a trained model", "the base version is one of them", ("versions_per_trained_model",)
    ),
    Assumption(
        "channels of a training",
        "must have been made for the association that is trained with; channels of an inference need not",
    ),
    Assumption(
        "an algorithm without the image that is needed",
        "ValidationException; without an association of its own, inference uses that of the model",
    ),
    Assumption(
        "receivers of models and inference output",
        "active members with the ability, else ValidationException; an ML configuration is not asked for; any member may start an export",
    ),
    Assumption("`privacyConfiguration`", "kept and returned, not enforced"),
    Assumption("payers", "must be members, invited ones included; nothing is charged"),
    Assumption(
        "`logsStatus` and `metricsStatus`",
        "each member sees its own (AWS's agent toolkit, custom-model-logging-debugging): PUBLISH_SUCCEEDED if its membership had an ML "
        "configuration when the job ended; the role's permissions and the accounts in `containerLogs` are not checked",
    ),
    Assumption(
        "deleting a configured model algorithm association",
        "ConflictException while a channel or model that was made with it is neither INACTIVE nor CREATE_FAILED, so also right after "
        "DeleteMLInputChannelData, until the channel is INACTIVE; and while an inference job that uses it runs",
    ),
    Assumption(
        "quotas of custom models",
        "CREATE_PENDING and CREATE_IN_PROGRESS count; training and inference apart; `--all-instance-types` lifts those by instance type; "
        "the names in `quotaName` are its own",
        ("instance_types", "instances_per_type"),
    ),
    Assumption(
        "what others own",
        "memberships and their resources: ResourceNotFoundException, or AccessDeniedException where the operation does not declare it; "
        "collaborations: AccessDeniedException",
    ),
    Assumption("abilities of a collaboration's members", "taken as given; several may have CAN_QUERY"),
    Assumption("a member that left", "is LEFT and cannot join again"),
    Assumption(
        "what a membership may be deleted with",
        "failed and INACTIVE channels and models, and jobs that have ended; all else is a ConflictException",
    ),
    Assumption(
        "a collaboration that is deleted",
        "memberships stay, COLLABORATION_DELETED; they can be read and cleared, not used; associations of audience models end, and their "
        "policy statements",
    ),
    Assumption(
        "`manageResourcePolicies`",
        "adds a statement with an identifier of its own that names all other members, and leaves the others; none where there is no other "
        "member; deleting the association takes it away, the last one the policy",
    ),
    Assumption("associating a configured audience model twice", "refused in a membership, as is the name"),
    Assumption(
        "`resourceType` of errors of `cleanrooms`",
        "where something was looked for: the model has no value for associations and queries",
    ),
)


def page() -> str:
    """The ledger in Markdown."""
    rows = [
        f"| {assumption.what} | {assumption.choice} | {', '.join(f'`{s}`' for s in assumption.switches)} |"
        for assumption in ASSUMPTIONS
    ]
    return "\n".join(
        [
            "# What the emulator assumes",
            "",
            "AWS documents none of these; each is the emulator's own choice. A switch is a field of",
            "`airflow_cleanroomsml.emulator.settings.Settings`. This page is written by `make assumptions`.",
            "",
            "| what | choice | switch |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def main() -> None:
    """Write the page to the path that is given."""
    path = Path(sys.argv[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
