"""
Lists what the emulator assumes where AWS documents nothing.

``python -m airflow_cleanroomsml.emulator.assumptions docs/assumptions.md`` writes the page.
"""

from __future__ import annotations

import sys
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


ASSUMPTIONS = (
    Assumption("Values of `statusDetails.statusCode`", "The emulator has its own."),
    Assumption(
        "Duration of statuses",
        "Pending for half a second, in progress for one second or as long as the work takes; options change both.",
        ("pending_seconds", "progress_seconds"),
    ),
    Assumption(
        "Duration of a deletion or cancellation", "One second, half of it in the PENDING status.", ("delete_seconds",)
    ),
    Assumption(
        "Unique names",
        "Enforced on every create, also against failed and INACTIVE resources; `--names-not-unique` accepts all names.",
        ("unique_names",),
    ),
    Assumption(
        "Scope of unique names",
        "Datasets, models, configured models, generation jobs and algorithms: account and region. Audience exports: generation job. "
        "Associations, channels and inference jobs: membership. Trained models: collaboration (documented); versions of a model may share "
        "its name. Model exports: membership, model and version.",
        ("unique_names",),
    ),
    Assumption(
        "Deleting an audience model or generation job that is being created", "Rejected with ConflictException."
    ),
    Assumption(
        "Names that differ only in case, and characters above U+FFFF in names",
        "Are different names; are accepted (the pattern in the service model is malformed for them).",
    ),
    Assumption("Name of a deleted resource", "Available again once the resource is gone."),
    Assumption("A Glue table that does not exist", "CreateTrainingDataset accepts it; the audience model fails."),
    Assumption(
        "Audience sizes above 20 percent",
        "Accepted: the API reference allows 1 to 100 percent, the quotas in the user guide 1 to 20.",
    ),
    Assumption(
        "`collaborationId` of a generation job", "The caller must be an active member, else AccessDeniedException."
    ),
    Assumption(
        "Tags that a generation job inherits",
        "All tags of the configured audience model and of the request, whose values take precedence. For a job on another account's model, "
        "the caller's resource has the tags of the request and the owner's those of the model, although the API reference can be read as "
        "no tags for the caller.",
    ),
    Assumption(
        "Request rates",
        "Not limited. `--published-rates` throttles what exceeds the rates in the user guide, per account, region and operation. Where no "
        "burst is published, it is the requests of one second. Reads of collaborations, CreateMLInputChannel, GetMLInputChannel, "
        "cancellations, DeleteMLInputChannelData and all of `cleanrooms` are not limited. Rejected requests count, throttled ones do not.",
        ("published_rates",),
    ),
    Assumption("A `previousPolicyHash` that does not match the policy", "ValidationException."),
    Assumption("Sizes if a configured audience model has none", "1, 5, 10, 15 and 20 percent."),
    Assumption(
        "Interactions that count",
        "Those in the training window. Users with fewer than two of them are left out; percentages refer to the other users and are "
        "rounded up.",
    ),
    Assumption(
        "Malformed rows",
        "The job fails if a user, item or timestamp is empty or missing, or if a row or file cannot be read.",
    ),
    Assumption(
        "Timestamps",
        "Between 1e8 and 1e11, which distinguishes seconds from milliseconds; ISO 8601 in text columns of Glue type `timestamp`.",
    ),
    Assumption(
        "Columns of a CSV file",
        "Matched by position. The job fails if the header has another order than the table, or if the table does not declare the header.",
    ),
    Assumption(
        "Files",
        "CSV, JSON lines (both optionally as `.gz`) and Parquet, in registered partitions only; names that start with `_` or `.` are "
        "ignored.",
    ),
    Assumption("Seed files", "UTF-8 JSON lines, uncompressed, with `user_id` only; an object, or a folder of them."),
    Assumption(
        "Relevance",
        "Compares the scores of the audience with those of held-out users of the seed (Cliff's delta, -1 to 1). At 0 the audience is as "
        "similar to the seed as they are.",
    ),
    Assumption("Recall", "Each fifth of the seed is held out once; the share of it in the largest audience."),
    Assumption("An audience size that exceeds the available users", "The generation job fails."),
    Assumption("Users of the seed with `includeSeedInOutput`", "Ranked by their score."),
    Assumption("Data above the maximums", "The most active users and the most popular items are used."),
    Assumption("Order of users in an exported file", "Best first, a million users per file."),
    Assumption('Who sees metrics with `sharedAudienceMetrics=["NONE"]`', "Only the owner of the model."),
    Assumption("Output location of an export", "Not shown to an account that does not own the bucket."),
    Assumption("Roles", "Must be in the caller's account (documented); their permissions are not checked."),
    Assumption(
        "Permissions of the caller",
        "Not limited; `/_emulator/permissions` limits an account to a list of actions. A request then needs the actions in the service "
        "authorization reference, and those that the user guide adds: `cleanrooms:PassMembership` and `cleanrooms:PassCollaboration` for "
        "custom models, `cleanrooms:ListMembers` for a generation job in a collaboration. Resources and conditions are not evaluated. The "
        "request is first validated against the service model.",
    ),
    Assumption(
        "Permissions for the model of an association",
        "Creating an association needs `GetConfiguredAudienceModel`, and with `manageResourcePolicies` Get and Put of the model's policy. "
        "Deleting a managed association, or its collaboration, needs Get, Put and Delete of the policy.",
    ),
    Assumption(
        "Bucket policies",
        "Apply to reading, writing and deleting objects, not to listing them. Every request counts as encrypted (`aws:SecureTransport` is "
        "true). The principal is the role of the job, or for other clients the assumed role or the root of the account. A condition on "
        "something the emulator does not know, such as `aws:SourceVpce`, `aws:PrincipalOrgID` or the encryption that a job requests, "
        "counts as met in a Deny statement and as not met in an Allow statement. `NotPrincipal` exempts a role even if its sessions are "
        "not listed.",
    ),
    Assumption(
        "Error messages", "The emulator has its own; for a missing resource the message has its ARN or identifier."
    ),
    Assumption(
        "Validity of a `nextToken`",
        "Valid for the operation that returned it, with the same arguments except `maxResults`, in the same account and region; else "
        "ValidationException. It does not expire.",
    ),
    Assumption(
        "A region that AWS does not have",
        "403 InvalidSignatureException. All regions in botocore's data are served, although AWS offers Clean Rooms ML in eleven.",
    ),
    Assumption(
        "Partitions other than `aws`",
        "ARNs have the partition of their region, and a role must be in that partition, else AccessDeniedException. Most patterns of "
        "`cleanrooms` only allow the partition `aws`, so tags of its resources cannot be changed in other partitions.",
    ),
    Assumption("Page size", "100 without `maxResults`; 10 for ListTrainedModelVersions (documented)."),
    Assumption("Size of a request", "10 MiB, for other services 1 GiB; rejected with 413 before it is read."),
    Assumption(
        "A page of a listing filtered by status",
        "Skips at most 1,000 resources with other statuses: it may have fewer entries than `maxResults`, even none, and a `nextToken`.",
    ),
    Assumption(
        "A SQL seed",
        "Requires a `collaborationId` in which the caller has CAN_QUERY. `dataSource` and `sqlParameters` are mutually exclusive. The SQL "
        "is not run: the job and its protected query fail with QUERY_FAILED and a message that quotes the SQL. The owner of the model does "
        "not see the query.",
    ),
    Assumption(
        "SQL of an ML input channel", "Neither checked nor run; the numbers of records, files and bytes are left out."
    ),
    Assumption(
        "Cancelling the protected query of a channel or seed",
        "The channel or job becomes CREATE_FAILED with QUERY_CANCELLED once the query is CANCELLED.",
    ),
    Assumption(
        "Trained models, exports and inference jobs",
        "Nothing is computed or written; they succeed after a certain time.",
    ),
    Assumption("End of a channel's retention", "INACTIVE `retentionInDays` after it became ACTIVE."),
    Assumption(
        "When training and inference can be cancelled",
        "While CREATE_PENDING or CREATE_IN_PROGRESS; else ConflictException.",
    ),
    Assumption(
        "When channel data and model output can be deleted",
        "While ACTIVE or CREATE_FAILED, and no running job reads it; else ConflictException, also if it is INACTIVE.",
    ),
    Assumption(
        "ARN of a version of a trained model",
        "That of the incremental channel's model, which must be in the same membership; the version in the channel must be ACTIVE.",
    ),
    Assumption(
        "Identifier of the base version",
        'The text "NULL" in every response (documented for CreateTrainedModel only).',
    ),
    Assumption("Default version of an inference or export job", "The latest."),
    Assumption("ListTrainedModels", "An entry for each ARN: its latest version, at the position of its base version."),
    Assumption("Tags of a trained model", "Belong to the ARN: all versions share them."),
    Assumption(
        "The limit of 100 versions per trained model",
        "Includes the base version.",
        ("versions_per_trained_model",),
    ),
    Assumption(
        "Channels of training and inference",
        "Those of a training must have been created for the association that it uses; those of an inference job need not.",
    ),
    Assumption(
        "An algorithm without the required image",
        "ValidationException. Without an association of its own, an inference job uses that of the model.",
    ),
    Assumption(
        "Receivers of models and inference output",
        "Active members with the ability, else ValidationException. An ML configuration is not required; any member may start an export.",
    ),
    Assumption("`privacyConfiguration`", "Stored and returned, but not enforced."),
    Assumption("Payers", "Must be members, or be invited; nothing is charged."),
    Assumption(
        "`logsStatus` and `metricsStatus`",
        "Each member sees its own (AWS agent toolkit, custom-model-logging-debugging): PUBLISH_SUCCEEDED if its membership had an ML "
        "configuration when the job ended. The permissions of the role and the accounts in `containerLogs` are not checked.",
    ),
    Assumption(
        "Deleting a configured model algorithm association",
        "ConflictException while a channel or model that uses it is neither INACTIVE nor CREATE_FAILED, for instance right after "
        "DeleteMLInputChannelData, and while an inference job that uses it runs.",
    ),
    Assumption(
        "Quotas of custom models",
        "CREATE_PENDING and CREATE_IN_PROGRESS count, separately for training and inference. `--all-instance-types` lifts the quotas by "
        "instance type. The names in `quotaName` are the emulator's own.",
        ("instance_types", "instances_per_type"),
    ),
    Assumption(
        "Resources of other accounts",
        "Memberships and their resources: ResourceNotFoundException, or AccessDeniedException if the operation does not declare it. "
        "Collaborations: AccessDeniedException.",
    ),
    Assumption("Abilities of members", "Accepted as requested; several members may have CAN_QUERY."),
    Assumption("A member that has left", "Has the status LEFT and cannot join again."),
    Assumption(
        "When a membership can be deleted",
        "If all of its channels and models are failed or INACTIVE and its jobs have ended; any other resource is a ConflictException.",
    ),
    Assumption(
        "Resources of a deleted collaboration",
        "Memberships stay, with the status COLLABORATION_DELETED; they can be read and deleted, but not used. Associations of audience "
        "models and their policy statements are deleted.",
    ),
    Assumption(
        "`manageResourcePolicies`",
        "Adds a statement with a `Sid` of its own for all other members, if there are any, and keeps the other statements. Deleting the "
        "association removes it, and with the last statement the policy.",
    ),
    Assumption("Associating a configured audience model twice", "Rejected within a membership, as is the same name."),
    Assumption(
        "`resourceType` in errors of `cleanrooms`",
        "The type of the parent: the service model has no value for associations and queries.",
    ),
)


def format_page() -> str:
    """Format the assumptions as a Markdown page."""
    rows = [
        f"| {assumption.topic} | {assumption.behaviour} | {', '.join(f'`{s}`' for s in assumption.settings)} |"
        for assumption in ASSUMPTIONS
    ]
    return "\n".join(
        [
            "# Assumptions of the emulator",
            "",
            "AWS documents none of this; the emulator's behaviour is its own choice. The settings that change it are fields of",
            "`airflow_cleanroomsml.emulator.settings.Settings`. `make assumptions` generates this page.",
            "",
            "| not documented | emulator | setting |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def main() -> None:
    """Write the page to the path in the first argument."""
    path = Path(sys.argv[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(format_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
