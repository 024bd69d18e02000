// Reads answers by the AWS SDK for JavaScript, without a server. Its one argument is a file of models and answers; it prints what it
// has read as JSON, a date as {"date": milliseconds since 1970}.

import { readFileSync } from "node:fs";

import { AwsRestJsonProtocol, Schemas } from "./sdk.mjs";

const { models, answers } = JSON.parse(readFileSync(process.argv[2], "utf-8"));
const context = {
  base64Decoder: (text) => Buffer.from(text, "base64"),
  utf8Encoder: (bytes) => Buffer.from(bytes).toString("utf-8"),
  utf8Decoder: (text) => Buffer.from(text, "utf-8"),
  streamCollector: async (body) => body,
};
const readers = Object.fromEntries(
  Object.entries(models).map(([service, model]) => {
    const namespace = `com.amazonaws.${service}`;
    const schemas = new Schemas(model, namespace);
    const protocol = new AwsRestJsonProtocol({ defaultNamespace: namespace, errorTypeRegistries: schemas.registries });
    protocol.setSerdeContext(context);
    return [service, { schemas, protocol }];
  }),
);

/** What JSON has no type for, as it does. */
function plain(value) {
  if (value instanceof Date) return { date: value.getTime() };
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
}

async function read({ service, operation, status, headers, body }) {
  const { schemas, protocol } = readers[service];
  const [, namespace, name, traits, input, output] = schemas.operations[operation];
  const response = { statusCode: status, headers, body: Buffer.from(body, "utf-8") };
  try {
    const { $metadata, ...members } = await protocol.deserializeResponse({ namespace, name, traits, input, output }, context, response);
    return { members: plain(members) };
  } catch (error) {
    return { error: String(error) };
  }
}

console.log(JSON.stringify(await Promise.all(answers.map(read))));
