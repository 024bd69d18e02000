"""
Lists what the emulator assumes where AWS documents nothing.

``python -m airflow_cleanroomsml.emulator.assumptions docs/assumptions.md`` writes the page.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Assumption:
    """
    An assumption.

    :param topic: What AWS does not document.
    :param behaviour: What the emulator does.
    :param settings: Fields of ``Settings`` that change it.
    """

    topic: str
    behaviour: str
    settings: tuple[str, ...] = ()


SECTIONS: dict[str, tuple[Assumption, ...]] = {
    "Names and statuses": (
        Assumption("values of `statusDetails.statusCode`", "the emulator's own"),
        Assumption(
            "duration of statuses",
            "half a second PENDING, then one second IN_PROGRESS or as long as the work takes; command-line options change both",
            ("pending_seconds", "progress_seconds"),
        ),
        Assumption("duration of a deletion or cancellation", "one second, half of it PENDING", ("delete_seconds",)),
        Assumption(
            "unique names",
            "required by every create operation; failed and INACTIVE resources keep their names; `--names-not-unique` accepts duplicates",
            ("unique_names",),
        ),
        Assumption(
            "scope of unique names",
            "training datasets, audience models, configured audience models, generation jobs and algorithms: account and region; audience "
            "exports: their generation job; associations, channels and inference jobs: the membership; trained models: the collaboration "
            "(documented), but versions of one model may share its name; model exports: membership, model and version",
            ("unique_names",),
        ),
        Assumption("names that differ only in case", "are different names"),
        Assumption(
            "names with characters above U+FFFF",
            "accepted; the pattern of the service model is malformed for them",
        ),
        Assumption("name of a deleted resource", "available again once the resource is gone"),
        Assumption("deleting an audience model or generation job that is in progress", "ConflictException"),
    ),
    "Lookalike models": (
        Assumption("a Glue table that does not exist", "CreateTrainingDataset accepts it; the audience model fails"),
        Assumption(
            "interactions that count",
            "those inside the training window; users with fewer than two of them are left out, and percentages refer to the remaining "
            "users, rounded up",
        ),
        Assumption(
            "malformed rows",
            "an empty or missing user, item or timestamp, or a row or file that cannot be read, fails the job",
        ),
        Assumption(
            "timestamps",
            "accepted from 1e8 to 1e11 seconds, which excludes milliseconds; string columns of Glue type `timestamp` are read as ISO 8601",
        ),
        Assumption(
            "columns of a CSV file",
            "matched by position; a header in another order than the table's, or with a column that the table does not declare, fails "
            "the job",
        ),
        Assumption(
            "file formats",
            "CSV and JSON lines, both plain or `.gz`, and Parquet; in a partitioned table, only files of registered partitions are read; "
            "names that begin with `_` or `.` are ignored",
        ),
        Assumption(
            "a partition without files",
            "fails the audience model, because missing data are more likely than a partition that is intentionally empty",
        ),
        Assumption(
            "files in an archive of S3",
            "fail the job until they are restored, because S3 refuses to read them (S3 API reference, GetObject); other engines skip them",
        ),
        Assumption("above the maxima", "the most active users and the most popular items are used"),
        Assumption("seed files", "plain UTF-8 JSON lines with `user_id` only, in one object or a folder of them"),
        Assumption(
            "the `collaborationId` of a generation job",
            "the caller must be an active member, else AccessDeniedException",
        ),
        Assumption(
            "tags that a generation job inherits",
            "all of the configured audience model's, merged with the request's, which take precedence. For a model of another account, the "
            "caller's job has the request's tags and the owner's job the model's, although the API reference can be read to mean that the "
            "caller's job has no tags",
        ),
        Assumption("sizes if a configured audience model names none", "1, 5, 10, 15 and 20 percent"),
        Assumption(
            "sizes above 20 percent",
            "accepted: the API reference allows 1 to 100, the user guide's quotas 1 to 20",
        ),
        Assumption("a size larger than the number of candidates", "fails the generation job"),
        Assumption("seed users with `includeSeedInOutput`", "ranked by their score like all others"),
        Assumption(
            "relevance",
            "compares the audience's scores with those of held-out seed users (Cliff's delta, -1 to 1); 0 means as similar to the seed as "
            "they are",
        ),
        Assumption(
            "recall",
            "the share of held-out seed users who are in the audience of the largest size; each fifth of the seed is held out once",
        ),
        Assumption('metrics with `sharedAudienceMetrics=["NONE"]`', "visible to the model's owner only"),
        Assumption("order of users in an exported file", "best score first, one million users per file"),
        Assumption("location of an export", "hidden from an account that does not own the bucket"),
        Assumption("a `previousPolicyHash` that does not match", "ValidationException"),
    ),
    "SQL": (
        Assumption(
            "a SQL seed",
            "requires a `collaborationId` in which the caller has CAN_QUERY; `dataSource` and `sqlParameters` are mutually exclusive. The "
            "query is not run: the job and the protected query fail with QUERY_FAILED and a message that quotes it. The model's owner does "
            "not see the query",
        ),
        Assumption("the SQL of an ML input channel", "accepted and not run; records, files and sizes are omitted"),
        Assumption(
            "cancelling the protected query of a channel or seed",
            "the channel or job is CREATE_FAILED with QUERY_CANCELLED once the query is CANCELLED",
        ),
    ),
    "Custom models": (
        Assumption(
            "trained models, exports and inference jobs",
            "compute and write nothing, and succeed after the configured time",
        ),
        Assumption("end of a channel's retention", "INACTIVE `retentionInDays` after it became ACTIVE"),
        Assumption(
            "when training or inference can be cancelled",
            "while CREATE_PENDING or CREATE_IN_PROGRESS, else ConflictException",
        ),
        Assumption(
            "when channel data or model output can be deleted",
            "while ACTIVE or CREATE_FAILED, and no job in progress reads it; else, including INACTIVE, ConflictException",
        ),
        Assumption(
            "ARN of an incremental version",
            "that of the model in the incremental channel, which must belong to the same membership and have an ACTIVE version",
        ),
        Assumption(
            "identifier of the base version",
            'the string "NULL" in every response (documented for CreateTrainedModel only)',
        ),
        Assumption("an inference or export job that names no version", "uses the latest"),
        Assumption("ListTrainedModels", "one entry per ARN: its latest version, in the position of the base version"),
        Assumption("tags of a trained model", "belong to the ARN, so all versions share them"),
        Assumption("the 100 versions of a trained model", "include the base version", ("versions_per_trained_model",)),
        Assumption(
            "channels",
            "those of a trained model must have been created for the association that it uses; those of an inference job need not",
        ),
        Assumption(
            "an algorithm without the required image",
            "ValidationException; an inference job without an association of its own uses the model's",
        ),
        Assumption(
            "receivers of models and inference output",
            "must be active members with the ability, else ValidationException; an ML configuration is not required; any member may "
            "start an export",
        ),
        Assumption("`privacyConfiguration`", "stored and returned, not enforced"),
        Assumption("payers", "must be members, invited or active; nothing is charged"),
        Assumption(
            "`logsStatus` and `metricsStatus`",
            "each member sees its own (AWS's agent toolkit, custom-model-logging-debugging): PUBLISH_SUCCEEDED if its membership had an ML "
            "configuration when the job ended; the role's permissions and the accounts in `containerLogs` are not checked",
        ),
        Assumption(
            "deleting a configured model algorithm association",
            "ConflictException while a channel or model created with it is neither INACTIVE nor CREATE_FAILED, or an inference job that "
            "uses it runs; after DeleteMLInputChannelData this lasts until the channel is INACTIVE",
        ),
        Assumption(
            "quotas of custom models",
            "CREATE_PENDING and CREATE_IN_PROGRESS count, training and inference separately; `--all-instance-types` lifts the quotas per "
            "instance type; names in `quotaName` are the emulator's own",
            ("instance_types", "instances_per_type"),
        ),
    ),
    "Collaborations": (
        Assumption(
            "resources of others",
            "memberships and their resources: ResourceNotFoundException, or AccessDeniedException if the operation does not declare it; "
            "collaborations: AccessDeniedException",
        ),
        Assumption("abilities of members", "accepted as given; several members may have CAN_QUERY"),
        Assumption("a member that left", "is LEFT and cannot join again"),
        Assumption(
            "deleting a membership",
            "allowed with failed and INACTIVE channels and models and with finished jobs; anything else is a ConflictException",
        ),
        Assumption(
            "a deleted collaboration",
            "its memberships remain with the status COLLABORATION_DELETED: they and their resources can be read and deleted, but not used. "
            "Associations of configured audience models are deleted with their policy statements",
        ),
        Assumption(
            "`manageResourcePolicies`",
            "adds one statement with its own identifier that names all other members, and keeps the other statements; adds none if there "
            "are no other members. Deleting the association removes it, and the policy with the last one",
        ),
        Assumption("associating a configured audience model twice", "refused within a membership, as is a name in use"),
        Assumption(
            "`resourceType` in errors of `cleanrooms`",
            "names what was looked up: the service model has no value for associations and queries",
        ),
    ),
    "Permissions": (
        Assumption(
            "roles",
            "must belong to the caller's account (documented). Audience models check the role of their dataset if the emulator's IAM has "
            "it: the trust policy must name the service, and policies of the role must allow what the user guide lists (ml-roles); "
            "condition keys other than `aws:SourceAccount` and `aws:SourceArn` count as met in an Allow. A role that IAM does not have is "
            "accepted. The roles of other resources are not checked",
            ("roles_must_exist",),
        ),
        Assumption(
            "`iam:SimulatePrincipalPolicy`",
            "evaluates the policies of a role by action and resource; a condition is met in a Deny and not met in an Allow. Boundaries "
            "and policies of the organization do not exist",
        ),
        Assumption(
            "permissions of the caller",
            "unlimited, unless `/_emulator/permissions` limits an account to some actions. A request then needs the actions of the service "
            "authorization reference and those that the user guide adds: `cleanrooms:PassMembership` and `cleanrooms:PassCollaboration` "
            "for custom models, `cleanrooms:ListMembers` for a generation job in a collaboration. Resources and conditions are not "
            "evaluated; a request that violates the service model is refused first",
        ),
        Assumption(
            "permissions for the model of an association",
            "creating an association needs `GetConfiguredAudienceModel`, and with `manageResourcePolicies` Get and Put of the model's "
            "policy; deleting a managed one, or its collaboration, needs Get, Put and Delete of the policy",
        ),
        Assumption(
            "bucket policies",
            "apply to reading, writing and deleting objects, not to listing them. Every request counts as encrypted "
            "(`aws:SecureTransport` is true). The principal is the role of the job, for other clients the assumed role or the account's "
            "root. A condition on something the emulator does not know, such as `aws:SourceVpce`, `aws:PrincipalOrgID` or the encryption "
            "that a job requests, is met in a Deny and not met in an Allow. `NotPrincipal` exempts a role even if its sessions are not "
            "listed",
        ),
        Assumption(
            "what policies may contain",
            "bucket policies and policies of configured audience models that break the grammar of IAM are refused (MalformedPolicy, "
            "ValidationException). Operators that compare numbers, times, addresses, binary values or sets (`ForAllValues:`, "
            "`ForAnyValue:`) are not evaluated, nor are policy variables such as `${aws:username}`, nor values of `ArnLike` and "
            "`ArnEquals` that have fewer than six components and match as plain text with wildcards, such as `*`: a statement with "
            "one applies if it is a Deny, and does not if it is an Allow (in a trust policy, it is the other way round). Of the "
            "principals only `AWS` and, in a trust policy, `Service` are compared",
        ),
        Assumption(
            "conditions in the policy of a configured audience model",
            "`cleanrooms-ml:CollaborationId` and `aws:PrincipalAccount` are known. An ARN of a role or user stands for its account",
        ),
    ),
    "Requests and responses": (
        Assumption(
            "request rates",
            "unlimited; `--published-rates` throttles by account, region and operation at the rates of the user guide. Where no burst is "
            "published, it is one second's requests. Reads of collaborations, CreateMLInputChannel, GetMLInputChannel, cancellations, "
            "DeleteMLInputChannelData and all of `cleanrooms` are not limited. A refused request counts towards the "
            "rate; a throttled one does not",
            ("published_rates",),
        ),
        Assumption("error messages", "the emulator's own; a missing resource is named by its ARN or identifier"),
        Assumption(
            "validity of a `nextToken`",
            "the operation that returned it, with the same arguments except `maxResults`, in the same account and region, else "
            "ValidationException; it does not expire, but a reset or restart of the emulator ends it",
        ),
        Assumption(
            "entries per page",
            "100 if `maxResults` is not given; 10 for versions of a trained model (documented)",
        ),
        Assumption(
            "a page of a listing by status",
            "skips at most 1,000 resources of other statuses, so it may have fewer entries than `maxResults`, or none, and a `nextToken`",
        ),
        Assumption(
            "size of a request",
            "at most 10 MiB, for other services 1 GiB; a larger one is refused with status 413",
        ),
        Assumption(
            "unknown regions",
            "403 InvalidSignatureException; all regions that botocore lists are served, although AWS offers Clean Rooms ML in eleven",
        ),
        Assumption(
            "partitions other than `aws`",
            "ARNs have the partition of their region, and a role must have it too, else AccessDeniedException. Most patterns of "
            "`cleanrooms` allow only the partition `aws`, so tags of its resources cannot be changed in others",
        ),
    ),
}
ASSUMPTIONS = tuple(assumption for section in SECTIONS.values() for assumption in section)


def format_page() -> str:
    """Format the assumptions as a Markdown page."""
    return "\n".join(
        [
            "# What the emulator assumes",
            "",
            "AWS does not document the following, so the emulator had to choose. A switch changes the choice; it is a field of",
            "`airflow_cleanroomsml.emulator.settings.Settings`. `make assumptions` writes this page.",
            "",
            *(line for title, section in SECTIONS.items() for line in _format_section(title, section)),
        ]
    )


def _format_section(title: str, assumptions: Iterable[Assumption]) -> Iterator[str]:
    yield from (f"## {title}", "", "| not documented | what the emulator does | switch |", "| --- | --- | --- |")
    for assumption in assumptions:
        settings = ", ".join(f"`{setting}`" for setting in assumption.settings)
        yield f"| {assumption.topic} | {assumption.behaviour} | {settings} |"
    yield ""


def main() -> None:
    """Write the page to the path in the first argument."""
    path = Path(sys.argv[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(format_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
