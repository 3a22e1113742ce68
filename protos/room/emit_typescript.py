"""Renders the room's messages as TypeScript discriminated unions with a checking parser."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from generate import Field, Model, Shape, Union

HEAD = """// {title}.
// Written by protos/room/generate.py from protos/room/v1/messages.schema.json. Do not edit.

/** A message breaks the schema. `path` names the property, `problem` says what is wrong with it. */
export class MessageInvalid extends Error {{
  readonly path: string;
  readonly problem: string;

  constructor(path: string, problem: string) {{
    super(`${{path}}: ${{problem}}`);
    this.name = "MessageInvalid";
    this.path = path;
    this.problem = problem;
  }}
}}
"""

TAIL = """
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
  if (/\\p{Surrogate}/u.test(value)) throw new MessageInvalid(path, "must be well-formed Unicode");
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
"""


def render_typescript(model: Model, unions: tuple[str, ...]) -> str:
    """The whole module as text."""
    shapes = model.reachable(unions)
    parts = [HEAD.format(title=model.title)]
    for shape in shapes:
        for field in shape.fields:
            if field.known:
                parts.append(_known(shape, field))
    parts += [_interface(shape) for shape in shapes]
    for name in unions:
        parts.append(_union(model, model.unions[name]))
    parts += [_reader(shape) for shape in shapes]
    parts.append(TAIL)
    return "".join(parts)


def _known(shape: Shape, field: Field) -> str:
    name = _known_name(shape, field)
    values = "".join(f"\n  {json.dumps(value)}," for value in field.known)
    return (
        "\n/** Values known today; an edge may send others. */\n"
        f"export const {name.upper()}S = [{values}\n] as const;\n"
        f"export type {shape.name}{field.name.title()} = (typeof {name.upper()}S)[number] | (string & {{}});\n"
    )


def _known_name(shape: Shape, field: Field) -> str:
    return f"{shape.name}_{field.name}"


def _interface(shape: Shape) -> str:
    lines = ["", f"/** {shape.description} */", f"export interface {shape.name} {{"]
    for field in shape.fields:
        if field.description:
            lines.append(f"  /** {field.description} */")
        mark = "" if field.required else "?"
        lines.append(f"  readonly {field.name}{mark}: {_type(shape, field)};")
    return "\n".join([*lines, "}", ""])


def _type(shape: Shape, field: Field) -> str:
    if field.kind == "const":
        return json.dumps(field.const)
    if field.known:
        return f"{shape.name}{field.name.title()}"
    plain = {"string": "string", "integer": "number", "boolean": "boolean", "array": f"readonly {field.items}[]"}
    return plain[field.kind] if field.required else f"{plain[field.kind]} | undefined"


def _union(model: Model, union: Union) -> str:
    cases = "".join(
        f'    case {json.dumps(model.shapes[name].type_name)}:\n      return read{name}(fields, "message");\n'
        for name in union.members
    )
    return (
        f"\n/** {union.description} */\nexport type {union.name} = {' | '.join(union.members)};\n"
        f"\n/** Reads one message; throws MessageInvalid. */\n"
        f"export function parse{union.name}(text: string): {union.name} {{\n"
        f'  const fields = asObject(decode(text), "message");\n'
        f'  switch (required(fields, "type", "message")) {{\n{cases}'
        f'    default:\n      throw new MessageInvalid("message.type", "is not known");\n  }}\n}}\n'
    )


def _reader(shape: Shape) -> str:
    lines = ["", f"function read{shape.name}(value: unknown, path: string): {shape.name} {{"]
    lines += ["  const fields = asObject(value, path);", "  return {"]
    for field in shape.fields:
        if field.kind == "const":
            lines.append(f"    {field.name}: {json.dumps(field.const)},")
            continue
        value = f'required(fields, "{field.name}", path)' if field.required else f"fields.{field.name}"
        if not field.required:
            value = f'fields["{field.name}"]'
        place = f"`${{path}}.{field.name}`"
        call = {
            "string": f"asString({value}, {place}, {field.min_length}, {field.max_length}"
            + (f", /{field.pattern}/)" if field.pattern else ")"),
            "integer": f"asInteger({value}, {place}, {field.minimum})",
            "boolean": f"asBoolean({value}, {place})",
            "array": f"asArray({value}, {place}, {field.max_items}, read{field.items})",
        }[field.kind]
        if field.required:
            lines.append(f"    {field.name}: {call},")
        else:
            lines.append(f'    ...(has(fields, "{field.name}") ? {{ {field.name}: {call} }} : {{}}),')
    return "\n".join([*lines, "  };", "}", ""])
