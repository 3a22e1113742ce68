"""Writes the room's message types from `v1/messages.schema.json`, for Python and for TypeScript.

    python protos/room/generate.py            writes tradewind/v1/room_messages.py and web/src/wire/messages.ts
    python protos/room/generate.py --check    exits 1 when either file differs from what would be written

The schema uses a small part of JSON Schema, and anything else in it is an error: objects with `required`, `const`
types, strings with `minLength`, `maxLength` and `pattern`, integers with `minimum`, booleans, arrays with `maxItems`,
`$ref`, and `oneOf` over objects told apart by `type`. `x-known` lists the values a string has today; receivers accept
others.
Both outputs are parsers that check every bound; `v1/vectors.json` holds the cases on which they must agree.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = Path(__file__).resolve().parent / "v1" / "messages.schema.json"
PYTHON = ROOT / "tradewind" / "v1" / "room_messages.py"
TYPESCRIPT = ROOT / "web" / "src" / "wire" / "messages.ts"
BROWSER_UNIONS = ("ClientMessage", "ServerMessage")
"""Pages never see what passes between edges."""

sys.path.insert(0, str(Path(__file__).resolve().parent))


@dataclass(frozen=True, slots=True)
class Field:
    """One property of an object, in the order of the schema."""

    name: str
    kind: str  # string | integer | boolean | array | const
    description: str
    required: bool
    const: str = ""
    minimum: int = 0
    min_length: int = 0
    max_length: int = 0
    pattern: str = ""
    known: tuple[str, ...] = ()
    items: str = ""
    max_items: int = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """One object definition."""

    name: str
    description: str
    fields: tuple[Field, ...]

    @property
    def type_name(self) -> str:
        """Value of its `type` property; empty for parts of messages."""
        return next((field.const for field in self.fields if field.kind == "const"), "")


@dataclass(frozen=True, slots=True)
class Union:
    """Objects told apart by `type`."""

    name: str
    description: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """The whole schema."""

    title: str
    shapes: dict[str, Shape]
    unions: dict[str, Union]

    def reachable(self, unions: tuple[str, ...]) -> list[Shape]:
        """Shapes that the given unions need, in the schema's order."""
        wanted: set[str] = set()
        queue = [member for union in unions for member in self.unions[union].members]
        while queue:
            name = queue.pop()
            if name not in wanted:
                wanted.add(name)
                queue += [field.items for field in self.shapes[name].fields if field.items]
        return [shape for name, shape in self.shapes.items() if name in wanted]


def load_model(text: str) -> Model:
    """Reads the schema; raises ValueError with the place of anything outside the part that is understood."""
    schema = json.loads(text)
    shapes: dict[str, Shape] = {}
    unions: dict[str, Union] = {}
    for name, definition in schema["$defs"].items():
        if "oneOf" in definition:
            members = tuple(_reference(member) for member in definition["oneOf"])
            unions[name] = Union(name, definition["description"], members)
        else:
            _only(definition, {"description", "type", "required", "properties"}, name)
            required = set(definition["required"])
            fields = tuple(
                _field(key, value, key in required, f"{name}.{key}") for key, value in definition["properties"].items()
            )
            shapes[name] = Shape(name, definition["description"], fields)
    for union in unions.values():
        for member in union.members:
            if not shapes[member].type_name:
                raise ValueError(f"{union.name}: {member} has no constant `type`")
    return Model(schema["title"], shapes, unions)


def _field(name: str, value: dict[str, Any], required: bool, place: str) -> Field:
    description = value.get("description", "")
    if "const" in value:
        _only(value, {"const"}, place)
        return Field(name, "const", description, required, const=value["const"])
    kind = value["type"]
    if kind == "string":
        _only(value, {"description", "type", "minLength", "maxLength", "pattern", "x-known"}, place)
        pattern = value.get("pattern", "")
        if not pattern and "maxLength" not in value:
            raise ValueError(f"{place}: a string needs maxLength or pattern")
        return Field(
            name,
            kind,
            description,
            required,
            min_length=value.get("minLength", 0),
            max_length=value.get("maxLength", 0),
            pattern=pattern,
            known=tuple(value.get("x-known", ())),
        )
    if kind == "integer":
        _only(value, {"description", "type", "minimum"}, place)
        return Field(name, kind, description, required, minimum=value["minimum"])
    if kind == "boolean":
        _only(value, {"description", "type"}, place)
        return Field(name, kind, description, required)
    if kind == "array":
        _only(value, {"description", "type", "maxItems", "items"}, place)
        return Field(name, kind, description, required, items=_reference(value["items"]), max_items=value["maxItems"])
    raise ValueError(f"{place}: type {kind} is not understood")


def _reference(value: dict[str, Any]) -> str:
    _only(value, {"$ref"}, str(value))
    return str(value["$ref"]).removeprefix("#/$defs/")


def _only(value: dict[str, Any], allowed: set[str], place: str) -> None:
    unknown = set(value) - allowed
    if unknown:
        raise ValueError(f"{place}: {', '.join(sorted(unknown))} not understood by this generator")


def main(arguments: list[str]) -> int:
    """Writes or compares both outputs."""
    from emit_python import render_python
    from emit_typescript import render_typescript

    model = load_model(SCHEMA.read_text(encoding="utf-8"))
    outputs = {PYTHON: render_python(model), TYPESCRIPT: render_typescript(model, BROWSER_UNIONS)}
    stale = [path for path, text in outputs.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in arguments:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what the schema says: run python protos/room/generate.py")
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(outputs[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
