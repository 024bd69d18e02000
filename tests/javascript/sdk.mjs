// The AWS SDK for JavaScript: the client of cleanrooms as it is published, and clients made from a service model of botocore.
// All clients of the SDK are one runtime that is driven by schemas, so a schema made from the model is read as strictly.

import { createRequire } from "node:module";
import { join } from "node:path";

const { NODE_MODULES } = process.env;
const load = createRequire(join(NODE_MODULES, "package.json"));

export const published = load("@aws-sdk/client-cleanrooms");
export const { AwsRestJsonProtocol } = load("@aws-sdk/core/protocols");
const { Command, ServiceException } = load("@smithy/core/client");
const { TypeRegistry } = load("@smithy/core/schema");
const { getEndpointPlugin } = load("@smithy/core/endpoints");

// Kinds and types of schemas, as the SDK numbers them.
const [LIST, MAP, STRUCTURE, UNION, OPERATION, ERROR] = [1, 2, 3, 4, 9, -3];
const SCALARS = { string: 0, integer: 1, long: 1, float: 1, double: 1, boolean: 2, blob: 21 };
const DOCUMENT = 15;
const TIMESTAMPS = { undefined: 4, iso8601: 5, rfc822: 6, unixTimestamp: 7 };

/** The schemas of a service model. */
export class Schemas {
  constructor(model, namespace) {
    this.shapes = model.shapes;
    this.namespace = namespace;
    this.made = new Map();
    this.errors = TypeRegistry.for(namespace);
    this.operations = Object.fromEntries(Object.entries(model.operations).map(([name, op]) => [name, this.operation(name, op)]));
    const base = TypeRegistry.for(`smithy.ts.sdk.synthetic.${namespace}`);
    base.registerError([ERROR, `smithy.ts.sdk.synthetic.${namespace}`, "AnyException", 0, [], []], ServiceException);
    this.registries = [base, this.errors];
  }

  operation(name, { http, input, output, errors = [] }) {
    errors.forEach(({ shape }) => this.register(shape));
    const ends = [input, output].map((end) => (end ? () => this.shape(end) : "unit"));
    return [OPERATION, this.namespace, name, { http: [http.method, http.requestUri, http.responseCode] }, ...ends];
  }

  register(name) {
    if (this.made.has(name)) return;
    const [, ...rest] = this.structure(name);
    const schema = [ERROR, ...rest];
    this.made.set(name, schema);
    const fault = this.shapes[name].fault ? "server" : "client";
    this.errors.registerError(
      schema,
      class extends ServiceException {
        constructor(options) {
          super({ ...options, name, $fault: fault });
        }
      },
    );
  }

  shape(reference) {
    const shape = this.shapes[reference.shape];
    if (shape.document) return DOCUMENT;
    if (shape.type === "timestamp") return TIMESTAMPS[reference.timestampFormat ?? shape.timestampFormat];
    if (shape.type in SCALARS) return SCALARS[shape.type];
    if (!this.made.has(reference.shape)) {
      this.made.set(reference.shape, undefined);
      const make = { structure: this.structure, list: this.list, map: this.map }[shape.type];
      this.made.set(reference.shape, make.call(this, reference.shape));
    }
    return this.made.get(reference.shape);
  }

  member(reference) {
    const traits = {
      uri: { httpLabel: 1 },
      querystring: { httpQuery: reference.locationName },
      header: { httpHeader: reference.locationName },
      statusCode: { httpResponseCode: 1 },
    }[reference.location];
    const target = () => this.shape(reference);
    return traits ? [target, traits] : target;
  }

  structure(name) {
    const { members, required = [], union } = this.shapes[name];
    // Required members come first.
    const names = [...required, ...Object.keys(members).filter((each) => !required.includes(each))];
    const schemas = names.map((each) => this.member(members[each]));
    return [union ? UNION : STRUCTURE, this.namespace, name, 0, names, schemas, required.length];
  }

  list(name) {
    return [LIST, this.namespace, name, 0, this.member(this.shapes[name].member)];
  }

  map(name) {
    const { key, value } = this.shapes[name];
    return [MAP, this.namespace, name, 0, this.member(key), this.member(value)];
  }
}

/** What calls the operations of a client by their names. */
export function caller(client, command) {
  return (operation, members = {}) => client.send(new (command(operation))(members));
}

/** The published client of cleanrooms. */
export function cleanRooms(config) {
  return caller(new published.CleanRoomsClient(config), (operation) => published[`${operation}Command`]);
}

/** A client of cleanroomsml. */
export function cleanRoomsML(config, model) {
  const namespace = "com.amazonaws.cleanroomsml";
  const schemas = new Schemas(model, namespace);
  const client = new published.CleanRoomsClient({
    ...config,
    serviceId: "CleanRoomsML",
    protocolSettings: { defaultNamespace: namespace, errorTypeRegistries: schemas.registries },
    signingName: "cleanrooms-ml",
  });
  return caller(client, (operation) =>
    Command.classBuilder()
      .ep({ Endpoint: { type: "builtInParams", name: "endpoint" }, Region: { type: "builtInParams", name: "region" } })
      .m((Made, stack, clientConfig) => [getEndpointPlugin(clientConfig, Made.getEndpointParameterInstructions())])
      .s(namespace, operation, {})
      .n("CleanRoomsMLClient", `${operation}Command`)
      .sc(schemas.operations[operation])
      .build(),
  );
}
