"""Settings of a process: a TOML file, then the environment, then flags; every value knows where it came from.

    class EdgeSettings(ProcessSettings): ...
    loaded = load_settings(EdgeSettings, toml_path=Path("edge.toml"), environ=os.environ, flags={"http.port": "0"})
    loaded.settings.http.port; loaded.origin("http.port")   # "flag --set http.port"

Environment names are `TRADEWIND_` and the key with `__` between its parts (`TRADEWIND_HTTP__PORT`); there and in flags
a list is written `a,b` or as JSON, a table as JSON. A key that no setting has is an error in the file and in flags,
naming file and line. In the environment it is a warning, because edges and control are often started from one.

SettingsInvalid
    One or more values cannot be used; `problems` has a line for each, saying where it is and what to do.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import json
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Generic, TypeVar, get_origin

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo

ENV_PREFIX = "TRADEWIND_"


class SettingsInvalid(ValueError):
    """Some settings cannot be used."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Section(BaseModel):
    """A table of settings, for example `[http]`."""

    # Not `use_attribute_docstrings`: it reads the source of every class at import, a quarter of a second for an edge.
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _read_text(cls, values: Any) -> Any:
        """The environment and flags give text where a list or a table is wanted."""
        if not isinstance(values, dict):
            return values
        return {name: _structured(cls.model_fields.get(name), value) for name, value in values.items()}


class ProcessSettings(Section):
    """All settings of one process."""


SettingsT = TypeVar("SettingsT", bound=ProcessSettings)


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting as `tradewind config` prints it."""

    key: str
    value: str
    origin: str
    description: str


@dataclass(frozen=True, slots=True)
class Loaded(Generic[SettingsT]):
    """Settings with the origin of every value that is not a default."""

    settings: SettingsT
    origins: Mapping[str, str]
    warnings: tuple[str, ...]

    def origin(self, key: str) -> str:
        """Where the value of a dotted key came from; a table's key covers everything in it."""
        while key:
            if key in self.origins:
                return self.origins[key]
            key = key.rpartition(".")[0]
        return "default"

    def rows(self) -> list[SettingRow]:
        """Every setting in order; secrets are not shown."""
        return [
            SettingRow(key, _shown(value), self.origin(key), description)
            for key, description, value in _walk(self.settings)
        ]


def load_settings(
    model: type[SettingsT],
    *,
    toml_path: Path | None = None,
    environ: Mapping[str, str],
    flags: Mapping[str, Any] | None = None,
) -> Loaded[SettingsT]:
    """Merges the three sources and checks them. Raises SettingsInvalid with one line per problem."""
    text, table = _read_toml(toml_path)
    origins: dict[str, str] = {}
    merged: dict[str, Any] = {}
    lines = _toml_lines(text)
    for key, value in _leaves(table):
        line = lines.get(key) or lines.get(key.rpartition(".")[0])
        origins[key] = f"{toml_path}:{line}" if line else str(toml_path)
        _put(merged, key, value)
    environment, warnings = _read_environment(model, environ)
    for key, value in _leaves(environment):
        origins[key] = f"environment {ENV_PREFIX}{key.upper().replace('.', '__')}"
        _put(merged, key, value)
    for key, value in (flags or {}).items():
        origins[key] = f"flag --set {key}"
        _put(merged, key, value)
    try:
        settings = model.model_validate(merged)
    except ValidationError as error:
        raise SettingsInvalid([_explain(model, item, origins) for item in error.errors()]) from None
    return Loaded(settings, origins, tuple(warnings))


def parse_flags(pairs: list[str]) -> dict[str, str]:
    """`["http.port=0"]` as a table of dotted keys. Raises SettingsInvalid for a pair without `=`."""
    result: dict[str, str] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key.strip():
            raise SettingsInvalid([f"--set {pair}: write KEY=VALUE, for example --set http.port=0"])
        result[key.strip()] = value
    return result


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """What stands below each field of a settings class, as PEP 257 has it for attributes."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(body, ast.ClassDef), "the source of a class"
    found: dict[str, str] = {}
    for field, text in pairwise(body.body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            found[field.target.id] = " ".join(str(text.value.value).split())
    return found


def _structured(field: FieldInfo | None, value: Any) -> Any:
    if field is None or not isinstance(value, str):
        return value
    kind = get_origin(field.annotation)
    if kind not in (list, tuple, dict):
        return value
    text = value.strip()
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except ValueError:
            raise ValueError(f"{text[:60]!r} is not JSON") from None
    if kind is dict:
        raise ValueError("write a table as JSON")
    return [part.strip() for part in text.split(",") if part.strip()]


def _read_environment(model: type[ProcessSettings], environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    table: dict[str, Any] = {}
    warnings: list[str] = []
    for name, value in environ.items():
        if not name.upper().startswith(ENV_PREFIX):
            continue
        key = name[len(ENV_PREFIX) :].lower().replace("__", ".")
        if _known(model, key):
            _put(table, key, value)
        else:
            warnings.append(f"environment {name} is no setting of this process{_hint(model, key)}")
    return table, warnings


def _read_toml(path: Path | None) -> tuple[str, dict[str, Any]]:
    if path is None:
        return "", {}
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except OSError as error:
        raise SettingsInvalid([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise SettingsInvalid([f"{path}: is not UTF-8 text"]) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsInvalid([f"{path}: {error}"]) from None


def _toml_lines(text: str) -> dict[str, int]:
    """Line of each dotted key. A scan, not a parser: what it misses is reported with the file alone."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]+\s*(#.*)?$", line):
            table = _bare(header[1])
            lines.setdefault(table, number)
        elif entry := re.match(r"""\s*([\w.\-"' ]+?)\s*=""", line):
            key = _bare(entry[1])
            lines.setdefault(f"{table}.{key}" if table else key, number)
    return lines


def _bare(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value


def _put(table: dict[str, Any], key: str, value: Any) -> None:
    *parents, name = key.split(".")
    for parent in parents:
        inner = table.get(parent)
        if not isinstance(inner, dict):
            inner = table[parent] = {}
        table = inner
    table[name] = value


def _explain(model: type[BaseModel], item: Any, origins: Mapping[str, str]) -> str:
    parts = [str(part) for part in item["loc"]]
    key = ".".join(parts)
    found = ""
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        found = origins.get(prefix, "") or next((o for k, o in origins.items() if k.startswith(f"{prefix}.")), "")
        if found:
            break
    where = f"{found}: " if found else ""
    if item["type"] == "extra_forbidden":
        return f"{where}unknown key {key}{_hint(model, key)}"
    if item["type"] == "missing":
        variable = f"{ENV_PREFIX}{key.upper().replace('.', '__')}"
        return f"{key} is missing: set it in the file, as {variable} or with --set {key}=…"
    return f"{where}{key}: {str(item['msg']).removeprefix('Value error, ')}"


def _hint(model: type[BaseModel], key: str) -> str:
    close = difflib.get_close_matches(key, _keys(model), n=1, cutoff=0.75)
    return f" (did you mean {close[0]}?)" if close else ""


def _keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, field in model.model_fields.items():
        inner = _section(field)
        found += _keys(inner, f"{prefix}{name}.") if inner else [f"{prefix}{name}"]
    return found


def _known(model: type[BaseModel], key: str) -> bool:
    name, _, rest = key.partition(".")
    field = model.model_fields.get(name)
    if field is None:
        return False
    inner = _section(field)
    # Below a table with free keys (`peer_addresses.fra.trunk`) validation decides.
    return _known(inner, rest) if inner and rest else True


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _walk(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    """(key, description, value) of every setting."""
    described = descriptions(type(model))
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel) and _section(field):
            yield from _walk(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", described.get(name, ""), value


def _shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        return "(set)" if value.get_secret_value() else "(not set)"
    if isinstance(value, BaseModel):
        return str(value.model_dump(mode="json"))
    if isinstance(value, dict):
        return str({key: inner.model_dump() if isinstance(inner, BaseModel) else inner for key, inner in value.items()})
    return str(value)
