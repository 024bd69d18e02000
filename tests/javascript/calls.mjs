// Makes, lists and reads resources of both services by the AWS SDK for JavaScript. Its one argument is a file that says where.
// It prints how many answers and dates it has read, as JSON.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { cleanRooms, cleanRoomsML } from "./sdk.mjs";

const { endpoint, account, partner, role, trainingData, outputConfig, seedAudience, model } = JSON.parse(
  readFileSync(process.argv[2], "utf-8"),
);
const read = { answers: 0, dates: 0 };

/** Every date of an answer is one, at any depth, and has been of this year. */
function checkDates(value, name) {
  if (value instanceof Date) {
    read.dates += 1;
    assert.ok(Math.abs(value - Date.now()) < 3_600_000 || name.startsWith("trainingData"), `${name} is ${value}`);
    return;
  }
  assert.ok(!/Time$/.test(name), `${name} is ${JSON.stringify(value)}, and no Date`);
  if (value !== null && typeof value === "object") {
    for (const [key, item] of Object.entries(value)) checkDates(item, Array.isArray(value) ? "" : key);
  }
}

function checked(call) {
  return async (operation, members) => {
    const { $metadata, ...answer } = await call(operation, members);
    assert.match($metadata.requestId, /^[0-9a-f-]{36}$/);
    read.answers += 1;
    checkDates(answer, "");
    return answer;
  };
}

function clients(accessKeyId) {
  const config = { endpoint, region: "us-east-1", credentials: { accessKeyId, secretAccessKey: "secret" }, maxAttempts: 1 };
  return { rooms: checked(cleanRooms(config)), ml: checked(cleanRoomsML(config, model)) };
}

/** Read something until it is no longer under way. */
async function wait(call, operation, members) {
  for (;;) {
    const found = await call(operation, members);
    if (!["CREATE_PENDING", "CREATE_IN_PROGRESS"].includes(found.status)) return found;
    await sleep(50);
  }
}

const { rooms, ml } = clients(account);
const other = clients(partner);

// A collaboration of two.
const { collaboration } = await rooms("CreateCollaboration", {
  name: "collaboration",
  description: "of the tests",
  creatorDisplayName: "creator",
  creatorMemberAbilities: ["CAN_QUERY", "CAN_RECEIVE_RESULTS"],
  creatorMLMemberAbilities: { customMLMemberAbilities: ["CAN_RECEIVE_MODEL_OUTPUT", "CAN_RECEIVE_INFERENCE_OUTPUT"] },
  members: [{ accountId: partner, displayName: "partner", memberAbilities: [] }],
  queryLogStatus: "DISABLED",
});
const within = { collaborationIdentifier: collaboration.id };
const { membership } = await rooms("CreateMembership", { ...within, queryLogStatus: "DISABLED", tags: { "a b": "ü" } });
await other.rooms("CreateMembership", { ...within, queryLogStatus: "DISABLED" });
const of = { membershipIdentifier: membership.id };
await rooms("GetCollaboration", within);
const first = await rooms("ListCollaborations", { maxResults: 1 });
assert.equal(first.collaborationList.length, 1);
const { memberSummaries } = await rooms("ListMembers", within);
assert.deepEqual(memberSummaries.map((each) => each.status), ["ACTIVE", "ACTIVE"]);
await rooms("GetMembership", of);
await rooms("ListMemberships", { status: "ACTIVE" });
await rooms("TagResource", { resourceArn: membership.arn, tags: { c: "1" } });
await rooms("UntagResource", { resourceArn: membership.arn, tagKeys: ["a b", "x"] });
assert.deepEqual((await rooms("ListTagsForResource", { resourceArn: membership.arn })).tags, { c: "1" });

// Lookalike.
const { trainingDatasetArn } = await ml("CreateTrainingDataset", { name: "dataset", roleArn: role, trainingData });
await ml("GetTrainingDataset", { trainingDatasetArn });
await ml("ListTrainingDatasets");
const { audienceModelArn } = await ml("CreateAudienceModel", {
  name: "model",
  trainingDatasetArn,
  trainingDataStartTime: new Date("2020-01-01T00:00:00.250Z"),
  trainingDataEndTime: new Date("2040-01-01T00:00:00Z"),
});
const trained = await wait(ml, "GetAudienceModel", { audienceModelArn });
assert.equal(trained.status, "ACTIVE", JSON.stringify(trained));
assert.equal(trained.trainingDataStartTime.toISOString(), "2020-01-01T00:00:00.250Z");
await ml("ListAudienceModels", { maxResults: 5 });
const { configuredAudienceModelArn } = await ml("CreateConfiguredAudienceModel", {
  name: "configured",
  audienceModelArn,
  outputConfig,
  sharedAudienceMetrics: ["ALL"],
  audienceSizeConfig: { audienceSizeType: "PERCENTAGE", audienceSizeBins: [5, 20] },
});
await ml("GetConfiguredAudienceModel", { configuredAudienceModelArn });
await ml("ListConfiguredAudienceModels");
const { configuredAudienceModelAssociation } = await rooms("CreateConfiguredAudienceModelAssociation", {
  ...of,
  configuredAudienceModelArn,
  configuredAudienceModelAssociationName: "association",
  manageResourcePolicies: true,
});
const association = { ...of, configuredAudienceModelAssociationIdentifier: configuredAudienceModelAssociation.id };
await rooms("GetConfiguredAudienceModelAssociation", association);
await rooms("ListConfiguredAudienceModelAssociations", of);
await other.rooms("ListCollaborationConfiguredAudienceModelAssociations", within);
await ml("GetConfiguredAudienceModelPolicy", { configuredAudienceModelArn });
const { audienceGenerationJobArn } = await ml("StartAudienceGenerationJob", {
  name: "job",
  configuredAudienceModelArn,
  seedAudience,
  collaborationId: collaboration.id,
});
const job = await wait(ml, "GetAudienceGenerationJob", { audienceGenerationJobArn });
assert.equal(job.status, "ACTIVE", JSON.stringify(job));
assert.equal(typeof job.metrics.recallMetric, "number");
await ml("ListAudienceGenerationJobs", { configuredAudienceModelArn });
const exported = { name: "export", audienceGenerationJobArn, audienceSize: { type: "PERCENTAGE", value: 20 } };
assert.deepEqual(await ml("StartAudienceExportJob", exported), {});
await ml("ListAudienceExportJobs", { audienceGenerationJobArn });

// Models of one's own.
const container = { imageUri: "123456789012.dkr.ecr.us-east-1.amazonaws.com/image:1" };
const { configuredModelAlgorithmArn } = await ml("CreateConfiguredModelAlgorithm", {
  name: "algorithm",
  roleArn: role,
  trainingContainerConfig: container,
  inferenceContainerConfig: container,
});
const { configuredModelAlgorithmAssociationArn } = await ml("CreateConfiguredModelAlgorithmAssociation", {
  ...of,
  name: "association",
  configuredModelAlgorithmArn,
});
await ml("PutMLConfiguration", { ...of, defaultOutputLocation: { roleArn: role } });
await ml("GetMLConfiguration", of);
const { mlInputChannelArn } = await ml("CreateMLInputChannel", {
  ...of,
  name: "channel",
  configuredModelAlgorithmAssociations: [configuredModelAlgorithmAssociationArn],
  inputChannel: {
    dataSource: { protectedQueryInputParameters: { sqlParameters: { queryString: "SELECT 1" }, resultFormat: "CSV" } },
    roleArn: role,
  },
  retentionInDays: 1,
});
await wait(ml, "GetMLInputChannel", { ...of, mlInputChannelArn });
await ml("ListMLInputChannels", of);
await other.ml("ListCollaborationMLInputChannels", within);
const { protectedQueries } = await rooms("ListProtectedQueries", of);
await rooms("GetProtectedQuery", { ...of, protectedQueryIdentifier: protectedQueries[0].id });
const { trainedModelArn } = await ml("CreateTrainedModel", {
  ...of,
  name: "model",
  configuredModelAlgorithmAssociationArn,
  resourceConfig: { instanceType: "ml.m5.2xlarge", volumeSizeInGB: 30 },
  dataChannels: [{ mlInputChannelArn, channelName: "training" }],
});
const finished = await wait(ml, "GetTrainedModel", { ...of, trainedModelArn });
assert.equal(finished.logsStatus, "PUBLISH_SUCCEEDED");
await ml("ListTrainedModels", of);
await ml("ListTrainedModelVersions", { ...of, trainedModelArn, status: "ACTIVE" });
await other.ml("GetCollaborationTrainedModel", { ...within, trainedModelArn });

// Answers without content, and errors.
await rooms("DeleteConfiguredAudienceModelAssociation", association);
assert.deepEqual(await ml("DeleteMLConfiguration", of), {});
await assert.rejects(ml("GetMLConfiguration", of), { name: "ResourceNotFoundException" });
await assert.rejects(ml("CreateTrainingDataset", { name: "dataset", roleArn: role, trainingData }), {
  name: "ConflictException",
});
await assert.rejects(rooms("GetMembership", { membershipIdentifier: "x".repeat(36) }), {
  name: "ValidationException",
  reason: "FIELD_VALIDATION_FAILED",
});

console.log(JSON.stringify(read));
