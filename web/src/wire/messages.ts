// What a room's WebSocket carries, subprotocol tradewind.room.v1.
// Written by protos/room/generate.py from protos/room/v1/messages.schema.json. Do not edit.

/** A message breaks the schema. `path` names the property, `problem` says what is wrong with it. */
export class MessageInvalid extends Error {
  readonly path: string;
  readonly problem: string;

  constructor(path: string, problem: string) {
    super(`${path}: ${problem}`);
    this.name = "MessageInvalid";
    this.path = path;
    this.problem = problem;
  }
}

/** Values known today; an edge may send others. */
export const REJECTED_REASONS = [
  "empty",
  "too_long",
  "control_character",
  "bidi_override",
  "invisible_run",
  "too_many_marks",
  "too_fast",
  "room_busy",
  "unreachable",
] as const;
export type RejectedReason = (typeof REJECTED_REASONS)[number] | (string & {});

/** Values known today; an edge may send others. */
export const GOODBYE_REASONS = [
  "shutting_down",
  "bad_frame",
  "not_utf8",
  "frame_too_large",
  "not_text",
  "bad_message",
  "hello_expected",
  "hello_timeout",
  "token_missing",
  "token_malformed",
  "token_algorithm",
  "token_unknown_key",
  "token_signature",
  "token_expired",
  "token_not_yet_valid",
  "token_claims",
  "token_wrong_room",
  "token_wrong_role",
  "room_full",
  "slow_consumer",
  "idle",
  "flood",
] as const;
export type GoodbyeReason = (typeof GOODBYE_REASONS)[number] | (string & {});

/** Who is here, and the last position seen. The edge answers with welcome or goodbye. */
export interface Hello {
  readonly type: "hello";
  /** Name to show; empty lets the edge choose a guest name. */
  readonly name: string;
  /** Access token (JWT) of the room; open rooms need none. */
  readonly token?: string | undefined;
  /** A guest's own secret, kept by the page: the edge derives the public person from it, so that a guest is the same person after a reconnect at any edge and nobody else can be. */
  readonly person?: string | undefined;
  /** Epoch of the last message received, when this is a reconnect. */
  readonly last_epoch?: number | undefined;
  /** Offset of the last message received, when this is a reconnect. */
  readonly last_offset?: number | undefined;
}

/** A comment to fly over the picture. Answered by accepted or rejected with the same id. */
export interface Danmaku {
  readonly type: "danmaku";
  /** Chosen by the page, unique per person; a retry keeps it and is not shown twice. */
  readonly id: string;
  /** Plain text. Markup is text like any other and must be shown as text. */
  readonly text: string;
  /** Colour of the comment, #rrggbb. */
  readonly color?: string | undefined;
  /** The publisher's clock, unix milliseconds, of the frame on the person's screen. */
  readonly media_time_ms?: number | undefined;
}

/** Asks for a pong with the same id. */
export interface Ping {
  readonly type: "ping";
  readonly id: string;
}

/** The person is in the room. A batch with the newest messages follows when there are any. */
export interface Welcome {
  readonly type: "welcome";
  readonly room: string;
  readonly edge_id: string;
  /** Public identity of this person in the room. */
  readonly person: string;
  /** Name as it will be shown. */
  readonly name: string;
  /** Where to go on when this edge dies; this edge first. */
  readonly edges: readonly EdgeAddress[];
  /** Epoch of the newest message of the room known here. */
  readonly epoch: number;
  /** Offset of the newest message of the room known here; 0 when there is none. */
  readonly offset: number;
  /** Whether the room has a picture now. */
  readonly live: boolean;
}

/** An edge that serves this room. */
export interface EdgeAddress {
  readonly edge_id: string;
  /** Base URL of its HTTP surface, without a slash at the end. */
  readonly url: string;
}

/** What was said in the last moment (at most 100 ms), oldest first. A message may come twice; (person, id) tells. */
export interface Batch {
  readonly type: "batch";
  readonly messages: readonly RoomEntry[];
}

/** One comment with its place in the room's log and its time in the picture. */
export interface RoomEntry {
  /** Incarnation of the source whose edge gave the offset; 0 while the room has no source. */
  readonly epoch: number;
  /** Position in the epoch's log, from 1 without holes. */
  readonly offset: number;
  readonly id: string;
  readonly person: string;
  readonly name: string;
  /** Plain text, to be shown as text. */
  readonly text: string;
  readonly color?: string | undefined;
  /** The publisher's clock, unix milliseconds, of the frame the comment belongs to. */
  readonly media_time_ms: number;
  /** Wall clock of the edge that gave the offset. */
  readonly unix_ms: number;
}

/** The comment has its place; it comes (or came) in a batch too. */
export interface Accepted {
  readonly type: "accepted";
  readonly id: string;
  readonly epoch: number;
  readonly offset: number;
}

/** The comment was not taken; the socket stays open. */
export interface Rejected {
  readonly type: "rejected";
  readonly id: string;
  readonly reason: RejectedReason;
  /** A sentence for the person: what to do. */
  readonly detail: string;
  /** When a retry with the same id may work. */
  readonly retry_after_ms?: number | undefined;
}

/** How many people are in the room, as far as this edge knows. */
export interface Presence {
  readonly type: "presence";
  readonly count: number;
}

/** The picture began, ended or changed its source. */
export interface Live {
  readonly type: "live";
  readonly live: boolean;
  readonly incarnation: number;
}

/** Answer to a ping. */
export interface Pong {
  readonly type: "pong";
  readonly id: string;
}

/** Last message before the edge closes the socket; the close code says the same (see edge/rooms/goodbye.py). */
export interface Goodbye {
  readonly type: "goodbye";
  readonly reason: GoodbyeReason;
  /** Whether to come again, to this or the next edge. */
  readonly retry: boolean;
}

/** Everything a page may send. */
export type ClientMessage = Hello | Danmaku | Ping;

/** Reads one message; throws MessageInvalid. */
export function parseClientMessage(text: string): ClientMessage {
  const fields = asObject(decode(text), "message");
  switch (required(fields, "type", "message")) {
    case "hello":
      return readHello(fields, "message");
    case "danmaku":
      return readDanmaku(fields, "message");
    case "ping":
      return readPing(fields, "message");
    default:
      throw new MessageInvalid("message.type", "is not known");
  }
}

/** Everything an edge may send. */
export type ServerMessage = Welcome | Batch | Accepted | Rejected | Presence | Live | Pong | Goodbye;

/** Reads one message; throws MessageInvalid. */
export function parseServerMessage(text: string): ServerMessage {
  const fields = asObject(decode(text), "message");
  switch (required(fields, "type", "message")) {
    case "welcome":
      return readWelcome(fields, "message");
    case "batch":
      return readBatch(fields, "message");
    case "accepted":
      return readAccepted(fields, "message");
    case "rejected":
      return readRejected(fields, "message");
    case "presence":
      return readPresence(fields, "message");
    case "live":
      return readLive(fields, "message");
    case "pong":
      return readPong(fields, "message");
    case "goodbye":
      return readGoodbye(fields, "message");
    default:
      throw new MessageInvalid("message.type", "is not known");
  }
}

function readHello(value: unknown, path: string): Hello {
  const fields = asObject(value, path);
  return {
    type: "hello",
    name: asString(required(fields, "name", path), `${path}.name`, 0, 64),
    ...(has(fields, "token") ? { token: asString(fields["token"], `${path}.token`, 1, 4096) } : {}),
    ...(has(fields, "person") ? { person: asString(fields["person"], `${path}.person`, 8, 128) } : {}),
    ...(has(fields, "last_epoch") ? { last_epoch: asInteger(fields["last_epoch"], `${path}.last_epoch`, 0) } : {}),
    ...(has(fields, "last_offset") ? { last_offset: asInteger(fields["last_offset"], `${path}.last_offset`, 0) } : {}),
  };
}

function readDanmaku(value: unknown, path: string): Danmaku {
  const fields = asObject(value, path);
  return {
    type: "danmaku",
    id: asString(required(fields, "id", path), `${path}.id`, 0, 0, /^[A-Za-z0-9_-]{1,64}$/),
    text: asString(required(fields, "text", path), `${path}.text`, 1, 2000),
    ...(has(fields, "color") ? { color: asString(fields["color"], `${path}.color`, 0, 0, /^#[0-9a-fA-F]{6}$/) } : {}),
    ...(has(fields, "media_time_ms") ? { media_time_ms: asInteger(fields["media_time_ms"], `${path}.media_time_ms`, 0) } : {}),
  };
}

function readPing(value: unknown, path: string): Ping {
  const fields = asObject(value, path);
  return {
    type: "ping",
    id: asString(required(fields, "id", path), `${path}.id`, 0, 0, /^[A-Za-z0-9_-]{1,64}$/),
  };
}

function readWelcome(value: unknown, path: string): Welcome {
  const fields = asObject(value, path);
  return {
    type: "welcome",
    room: asString(required(fields, "room", path), `${path}.room`, 1, 64),
    edge_id: asString(required(fields, "edge_id", path), `${path}.edge_id`, 1, 64),
    person: asString(required(fields, "person", path), `${path}.person`, 1, 128),
    name: asString(required(fields, "name", path), `${path}.name`, 1, 64),
    edges: asArray(required(fields, "edges", path), `${path}.edges`, 8, readEdgeAddress),
    epoch: asInteger(required(fields, "epoch", path), `${path}.epoch`, 0),
    offset: asInteger(required(fields, "offset", path), `${path}.offset`, 0),
    live: asBoolean(required(fields, "live", path), `${path}.live`),
  };
}

function readEdgeAddress(value: unknown, path: string): EdgeAddress {
  const fields = asObject(value, path);
  return {
    edge_id: asString(required(fields, "edge_id", path), `${path}.edge_id`, 1, 64),
    url: asString(required(fields, "url", path), `${path}.url`, 1, 512),
  };
}

function readBatch(value: unknown, path: string): Batch {
  const fields = asObject(value, path);
  return {
    type: "batch",
    messages: asArray(required(fields, "messages", path), `${path}.messages`, 512, readRoomEntry),
  };
}

function readRoomEntry(value: unknown, path: string): RoomEntry {
  const fields = asObject(value, path);
  return {
    epoch: asInteger(required(fields, "epoch", path), `${path}.epoch`, 0),
    offset: asInteger(required(fields, "offset", path), `${path}.offset`, 1),
    id: asString(required(fields, "id", path), `${path}.id`, 0, 0, /^[A-Za-z0-9_-]{1,64}$/),
    person: asString(required(fields, "person", path), `${path}.person`, 1, 128),
    name: asString(required(fields, "name", path), `${path}.name`, 1, 64),
    text: asString(required(fields, "text", path), `${path}.text`, 1, 2000),
    ...(has(fields, "color") ? { color: asString(fields["color"], `${path}.color`, 0, 0, /^#[0-9a-fA-F]{6}$/) } : {}),
    media_time_ms: asInteger(required(fields, "media_time_ms", path), `${path}.media_time_ms`, 0),
    unix_ms: asInteger(required(fields, "unix_ms", path), `${path}.unix_ms`, 0),
  };
}

function readAccepted(value: unknown, path: string): Accepted {
  const fields = asObject(value, path);
  return {
    type: "accepted",
    id: asString(required(fields, "id", path), `${path}.id`, 0, 0, /^[A-Za-z0-9_-]{1,64}$/),
    epoch: asInteger(required(fields, "epoch", path), `${path}.epoch`, 0),
    offset: asInteger(required(fields, "offset", path), `${path}.offset`, 1),
  };
}

function readRejected(value: unknown, path: string): Rejected {
  const fields = asObject(value, path);
  return {
    type: "rejected",
    id: asString(required(fields, "id", path), `${path}.id`, 0, 0, /^[A-Za-z0-9_-]{1,64}$/),
    reason: asString(required(fields, "reason", path), `${path}.reason`, 1, 64),
    detail: asString(required(fields, "detail", path), `${path}.detail`, 0, 512),
    ...(has(fields, "retry_after_ms") ? { retry_after_ms: asInteger(fields["retry_after_ms"], `${path}.retry_after_ms`, 0) } : {}),
  };
}

function readPresence(value: unknown, path: string): Presence {
  const fields = asObject(value, path);
  return {
    type: "presence",
    count: asInteger(required(fields, "count", path), `${path}.count`, 0),
  };
}

function readLive(value: unknown, path: string): Live {
  const fields = asObject(value, path);
  return {
    type: "live",
    live: asBoolean(required(fields, "live", path), `${path}.live`),
    incarnation: asInteger(required(fields, "incarnation", path), `${path}.incarnation`, 0),
  };
}

function readPong(value: unknown, path: string): Pong {
  const fields = asObject(value, path);
  return {
    type: "pong",
    id: asString(required(fields, "id", path), `${path}.id`, 0, 0, /^[A-Za-z0-9_-]{1,64}$/),
  };
}

function readGoodbye(value: unknown, path: string): Goodbye {
  const fields = asObject(value, path);
  return {
    type: "goodbye",
    reason: asString(required(fields, "reason", path), `${path}.reason`, 1, 64),
    retry: asBoolean(required(fields, "retry", path), `${path}.retry`),
  };
}

type Fields = Record<string, unknown>;

function decode(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new MessageInvalid("message", "is not JSON");
  }
}

function asObject(value: unknown, path: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new MessageInvalid(path, "must be an object");
  }
  return value as Fields;
}

function has(fields: Fields, name: string): boolean {
  return Object.hasOwn(fields, name);
}

function required(fields: Fields, name: string, path: string): unknown {
  if (!has(fields, name)) throw new MessageInvalid(`${path}.${name}`, "is missing");
  return fields[name];
}

function asString(value: unknown, path: string, minLength: number, maxLength: number, pattern?: RegExp): string {
  if (typeof value !== "string") throw new MessageInvalid(path, "must be a string");
  if (pattern !== undefined && !pattern.test(value)) throw new MessageInvalid(path, `must match ${pattern.source}`);
  // Lengths count code points, as JSON Schema does, not UTF-16 units.
  const length = [...value].length;
  if (length < minLength) throw new MessageInvalid(path, `must have at least ${minLength} characters`);
  if (maxLength > 0 && length > maxLength) throw new MessageInvalid(path, `must have at most ${maxLength} characters`);
  if (/\p{Surrogate}/u.test(value)) throw new MessageInvalid(path, "must be well-formed Unicode");
  return value;
}

function asInteger(value: unknown, path: string, minimum: number): number {
  if (typeof value !== "number" || !Number.isInteger(value)) throw new MessageInvalid(path, "must be an integer");
  if (value < minimum) throw new MessageInvalid(path, `must be at least ${minimum}`);
  if (value > Number.MAX_SAFE_INTEGER) throw new MessageInvalid(path, "must be below 2^53");
  return value;
}

function asBoolean(value: unknown, path: string): boolean {
  if (typeof value !== "boolean") throw new MessageInvalid(path, "must be true or false");
  return value;
}

function asArray<T>(
  value: unknown,
  path: string,
  maxItems: number,
  read: (item: unknown, path: string) => T,
): readonly T[] {
  if (!Array.isArray(value)) throw new MessageInvalid(path, "must be an array");
  if (value.length > maxItems) throw new MessageInvalid(path, `must have at most ${maxItems} items`);
  return value.map((item: unknown, index) => read(item, `${path}[${index}]`));
}
