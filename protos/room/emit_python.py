"""Renders the room's messages as frozen dataclasses with a checking parser."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from generate import Field, Model, Shape, Union

LINE_LENGTH = 120

HEAD = '''"""{title}.

Written by protos/room/generate.py from protos/room/v1/messages.schema.json. Do not edit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, TypeVar

MAX_SAFE_INTEGER: Final = 2**53 - 1
"""Largest integer that JavaScript holds exactly."""


class MessageInvalid(ValueError):
    """A message breaks the schema. `path` names the property, `problem` says what is wrong with it."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{{path}}: {{problem}}")
        self.path = path
        self.problem = problem

'''

TAIL = """
_T = TypeVar("_T")


def _encode(fields: dict[str, object]) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _refuse_constant(name: str) -> object:
    raise MessageInvalid("message", f"{name} is not JSON")


def _decode(text: str | bytes) -> object:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except MessageInvalid:
        raise
    except (ValueError, RecursionError):
        raise MessageInvalid("message", "is not JSON") from None


def _object(value: object, path: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise MessageInvalid(path, "must be an object")
    return value


def _required(fields: dict[str, object], name: str, path: str) -> object:
    if name not in fields:
        raise MessageInvalid(f"{path}.{name}", "is missing")
    return fields[name]


def _string(value: object, path: str, min_length: int, max_length: int, pattern: re.Pattern[str] | None = None) -> str:
    if not isinstance(value, str):
        raise MessageInvalid(path, "must be a string")
    if pattern is not None and pattern.fullmatch(value) is None:
        raise MessageInvalid(path, f"must match {pattern.pattern}")
    if len(value) < min_length:
        raise MessageInvalid(path, f"must have at least {min_length} characters")
    if max_length and len(value) > max_length:
        raise MessageInvalid(path, f"must have at most {max_length} characters")
    if any("\\ud800" <= character <= "\\udfff" for character in value):
        raise MessageInvalid(path, "must be well-formed Unicode")
    return value


def _integer(value: object, path: str, minimum: int) -> int:
    # JSON does not tell 1 from 1.0, and JavaScript cannot.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise MessageInvalid(path, "must be an integer")
    if value < minimum:
        raise MessageInvalid(path, f"must be at least {minimum}")
    if value > MAX_SAFE_INTEGER:
        raise MessageInvalid(path, "must be below 2^53")
    return value


def _boolean(value: object, path: str) -> bool:
    if not isinstance(value, bool):
        raise MessageInvalid(path, "must be true or false")
    return value


def _array(value: object, path: str, max_items: int, parse: Callable[[object, str], _T]) -> tuple[_T, ...]:
    if not isinstance(value, list):
        raise MessageInvalid(path, "must be an array")
    if len(value) > max_items:
        raise MessageInvalid(path, f"must have at most {max_items} items")
    return tuple(parse(item, f"{path}[{index}]") for index, item in enumerate(value))
"""


def render_python(model: Model) -> str:
    """The whole module as text."""
    patterns = _patterns(model)
    parts = [HEAD.format(title=model.title)]
    for shape in model.shapes.values():
        for field in shape.fields:
            if field.known:
                values = "".join(f'\n    "{value}",' for value in field.known)
                parts.append(f"\n{_known_name(shape, field)}: Final = ({values}\n)\n")
    parts += [_dataclass(shape) for shape in model.shapes.values()]
    parts += [_union(model, union) for union in model.unions.values()]
    parts.append("\n")
    parts += [f'\n{name} = re.compile(r"{pattern}")' for pattern, name in patterns.items()]
    parts.append("\n")
    parts += [_parser(shape, patterns) for shape in model.shapes.values()]
    parts += [_table(model, union) for union in model.unions.values()]
    parts.append(TAIL)
    return "".join(parts)


def _known_name(shape: Shape, field: Field) -> str:
    return f"{shape.name.upper()}_{field.name.upper()}S"


def _patterns(model: Model) -> dict[str, str]:
    found: dict[str, str] = {}
    for shape in model.shapes.values():
        for field in shape.fields:
            if field.pattern and field.pattern not in found:
                found[field.pattern] = f"_PATTERN_{len(found)}"
    return found


def _dataclass(shape: Shape) -> str:
    lines = [
        "",
        "",
        "@dataclass(frozen=True, slots=True)",
        f"class {shape.name}:",
        *_docstring(shape.description, 4),
        "",
    ]
    # Dataclass fields without a default come first.
    for field in sorted(shape.fields, key=lambda field: not field.required):
        if field.kind == "const":
            lines.append(f'    type: ClassVar[str] = "{field.const}"')
        else:
            lines.append(f"    {field.name}: {_annotation(field)}" + ("" if field.required else " = None"))
        if field.description:
            lines += _docstring(field.description, 4)
    lines += ["", "    def fields(self) -> dict[str, object]:", '        """As a JSON object."""']
    if all(field.required for field in shape.fields):
        lines.append("        return {" if shape.fields else "        return {}")
        lines += [f'            "{field.name}": {_value(field)},' for field in shape.fields]
        lines.append("        }")
    else:
        lines.append("        result: dict[str, object] = {")
        lines += [f'            "{field.name}": {_value(field)},' for field in shape.fields if field.required]
        lines.append("        }")
        for field in shape.fields:
            if not field.required:
                lines.append(f"        if self.{field.name} is not None:")
                lines.append(f'            result["{field.name}"] = {_value(field)}')
        lines.append("        return result")
    if shape.type_name:
        lines += [
            "",
            "    def encode(self) -> str:",
            '        """As JSON text."""',
            "        return _encode(self.fields())",
        ]
    return "\n".join(lines) + "\n"


def _value(field: Field) -> str:
    return f"[item.fields() for item in self.{field.name}]" if field.kind == "array" else f"self.{field.name}"


def _annotation(field: Field) -> str:
    plain = {"string": "str", "integer": "int", "boolean": "bool", "array": f"tuple[{field.items}, ...]"}[field.kind]
    return plain if field.required else f"{plain} | None"


def _docstring(text: str, indent: int) -> list[str]:
    pad = " " * indent
    if len(text) + indent + 6 <= LINE_LENGTH:
        return [f'{pad}"""{text}"""']
    lines = textwrap.wrap(text, LINE_LENGTH - indent - 3)
    return [f'{pad}"""{lines[0]}', *[f"{pad}{line}" for line in lines[1:]], f'{pad}"""']


def _union(model: Model, union: Union) -> str:
    name = _snake(union.name)
    return (
        f"\n\n{union.name} = {' | '.join(union.members)}\n"
        + "\n".join(_docstring(union.description, 0))
        + f"\n\n\ndef parse_{name}(text: str | bytes) -> {union.name}:\n"
        + '    """Reads one message; raises MessageInvalid."""\n'
        + f"    return read_{name}(_decode(text))\n"
        + f"\n\ndef read_{name}(value: object) -> {union.name}:\n"
        + '    """Checks decoded JSON; raises MessageInvalid."""\n'
        + '    fields = _object(value, "message")\n'
        + '    name = _required(fields, "type", "message")\n'
        + f"    read = _{name.upper()}.get(name) if isinstance(name, str) else None\n"
        + "    if read is None:\n"
        + '        raise MessageInvalid("message.type", "is not known")\n'
        + '    return read(fields, "message")\n'
    )


def _table(model: Model, union: Union) -> str:
    rows = "".join(f'    "{model.shapes[name].type_name}": _read_{_snake(name)},\n' for name in union.members)
    return (
        f"\n\n_{_snake(union.name).upper()}: Final[dict[str, Callable[[object, str], {union.name}]]] = {{\n{rows}}}\n"
    )


def _parser(shape: Shape, patterns: dict[str, str]) -> str:
    body = ""
    for field in shape.fields:
        if field.kind == "const":
            continue
        value = f'_required(fields, "{field.name}", path)' if field.required else f'fields["{field.name}"]'
        place = f'f"{{path}}.{field.name}"'
        call = {
            "string": f"_string({value}, {place}, {field.min_length}, {field.max_length}"
            + (f", {patterns[field.pattern]})" if field.pattern else ")"),
            "integer": f"_integer({value}, {place}, {field.minimum})",
            "boolean": f"_boolean({value}, {place})",
            "array": f"_array({value}, {place}, {field.max_items}, _read_{_snake(field.items)})",
        }[field.kind]
        line = f"        {field.name}={call},"
        if not field.required:
            line = f'        {field.name}={call} if "{field.name}" in fields else None,'
            if len(line) > LINE_LENGTH:
                line = f'        {field.name}={call}\n        if "{field.name}" in fields\n        else None,'
        body += f"{line}\n"
    return (
        f"\n\ndef _read_{_snake(shape.name)}(value: object, path: str) -> {shape.name}:\n"
        f"    fields = _object(value, path)\n"
        f"    return {shape.name}(\n{body}    )\n"
    )


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
