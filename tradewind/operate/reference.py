"""The page of all settings, made from the settings classes so that it cannot say anything else than they do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from control.settings import ControlSettings
from edge.settings import EdgeSettings
from tradewind.common.settings import ENV_PREFIX, ProcessSettings, descriptions

HEAD = f"""# Configuration

<!-- Made by `tradewind config --markdown > docs/configuration.md`, compared by `make check`. -->

Edge and control each take their settings from three places; a later one wins:

1. a TOML file, `--config FILE`: `[http]` and below it `port = 8080`;
2. the environment: `{ENV_PREFIX}HTTP__PORT=8080`, the key in capitals with `__` between its parts;
3. flags: `--set http.port=8080`, repeatable.

In the environment and in flags a list is written `a,b` or as JSON, a table as JSON. An unknown key in the file or in a
flag is an error that names its line; in the environment it is a warning in the log. What is in force, and where each
value comes from:

```sh
tradewind config edge --config sg.toml
tradewind config control --config control.toml --describe
```

Times end in their unit (`_s`, `_ms`), sizes in `_bytes`; ratios lie between 0 and 1. Port 0 takes a free port; the
bound one stands in `data_dir/ready.json`. Settings are read once, at the start.
"""


def settings_reference() -> str:
    """Markdown: one chapter a process, one table a section."""
    chapters = (("Edge", "tradewind edge", EdgeSettings), ("Control", "tradewind control", ControlSettings))
    return HEAD + "".join(_chapter(title, command, model) for title, command, model in chapters)


def _chapter(title: str, command: str, model: type[ProcessSettings]) -> str:
    parts = [f"\n## {title}\n\nRead by `{command}`.\n\n{_table(model)}"]
    for name, field in model.model_fields.items():
        section = _model(field.annotation)
        if section is not None:
            purpose = " ".join((section.__doc__ or "").split())
            parts.append(f"\n### [{name}]\n\n{purpose}\n\n{_table(section)}")
    return "".join(parts)


def _table(model: type[BaseModel]) -> str:
    rows = "".join(f"| `{name}` | {default} | {meaning} |\n" for name, default, meaning in _rows(model))
    return f"| setting | default | meaning |\n|---|---|---|\n{rows}"


def _rows(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Its settings but for sections, and what stands in each entry of a list or table of tables."""
    described = descriptions(model)
    for name, field in model.model_fields.items():
        if _model(field.annotation) is not None:
            continue
        limits = _limits(field)
        yield f"{prefix}{name}", _default(field), described.get(name, "") + (f" {limits}" if limits else "")
        inner = next((found for part in get_args(field.annotation) if (found := _model(part))), None)
        if inner is not None:
            entry = ".EDGE." if get_origin(field.annotation) is dict else "[]."
            yield from _rows(inner, f"{prefix}{name}{entry}")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be set"
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined or value == "" or isinstance(value, SecretStr):
        return "–"
    if isinstance(value, tuple | list | dict):
        return f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`"
    return f"`{value}`" if not isinstance(value, bool) else f"`{str(value).lower()}`"


def _limits(field: FieldInfo) -> str:
    """Bounds of a number, or the words that are taken."""
    kinds = [field.annotation, *get_args(field.annotation)]
    words = next((get_args(kind) for kind in kinds if get_origin(kind) is Literal), ())
    if words:
        return f"One of {', '.join(f'`{word}`' for word in words)}."
    low: Any = None
    high: Any = None
    above = ""
    for bound in field.metadata:
        if isinstance(bound, annotated_types.Ge | annotated_types.Interval) and bound.ge is not None:
            low = bound.ge
        if isinstance(bound, annotated_types.Gt | annotated_types.Interval) and getattr(bound, "gt", None) is not None:
            low, above = bound.gt, "above "
        if isinstance(bound, annotated_types.Le | annotated_types.Interval) and bound.le is not None:
            high = bound.le
    if low is None and high is None:
        return ""
    if high is None:
        return f"({above or 'at least '}{low})"
    return f"({above}{low} to {high})"


def _model(kind: Any) -> type[BaseModel] | None:
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
