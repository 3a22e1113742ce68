"""What `tradewind wan --config F` reads: the links, and where the emulator listens.

```toml
data_dir = ".tradewind/wan"
seed = 1

[admin]
port = 0

[[links]]
a = "sg"
b = "fra"
delay_ms = 80        # one way
loss_ratio = 0.002
burst_packets = 3
```
"""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, IPvAnyAddress, ValidationError, model_validator

from bench.wan.model import LinkConditions
from tradewind.common.settings import SettingsInvalid

Port = Annotated[int, Field(ge=0, le=65535)]
EdgeName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
CONDITION_NAMES = tuple(f.name for f in fields(LinkConditions))


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ConditionsChange(_Model):
    """Some fields of one direction; what is left out stays as it is."""

    delay_ms: float | None = None
    jitter_ms: float | None = None
    loss_ratio: float | None = None
    burst_packets: float | None = None
    rate_kbps: float | None = None
    queue_ms: float | None = None
    reorder_ratio: float | None = None
    duplicate_ratio: float | None = None
    corrupt_ratio: float | None = None
    blackout: bool | None = None

    lose_next: int | None = None
    """Not a condition but an event: exactly this many of the next trunk packets are lost."""
    blackout_ms: float | None = None
    """Not a condition but an event: a blackout from now on that ends by itself."""

    def changes(self) -> dict[str, Any]:
        """The fields that were given. `rate_kbps` may be given as null: no bottleneck any more."""
        given = {name: getattr(self, name) for name in self.model_fields_set if name in CONDITION_NAMES}
        return {name: value for name, value in given.items() if value is not None or name == "rate_kbps"}


class LinkSettings(ConditionsChange):
    """One link between two edges; its conditions hold in both directions until changed."""

    a: EdgeName
    b: EdgeName

    @model_validator(mode="after")
    def _check(self) -> LinkSettings:
        if self.a == self.b:
            raise ValueError(f"a link joins two edges, not {self.a} with itself")
        self.conditions()
        return self

    def conditions(self) -> LinkConditions:
        return LinkConditions(**self.changes())


class AdminSettings(_Model):
    host: str = "127.0.0.1"
    port: Port = 0


class WanSettings(_Model):
    """The whole process."""

    data_dir: Path = Path(".tradewind/wan")
    seed: int = 1
    host: IPvAnyAddress = Field(default="127.0.0.1", validate_default=True)
    """Address of the links' sockets."""
    admin: AdminSettings = AdminSettings()
    links: tuple[LinkSettings, ...] = ()
    schedule_max_packets: Annotated[int, Field(ge=1)] = 200_000
    """Packets on their way in all links together; more are dropped and counted. 200,000 packets of 1.2 KB are 240
    MB."""

    @model_validator(mode="after")
    def _check_unique(self) -> WanSettings:
        pairs = [frozenset((link.a, link.b)) for link in self.links]
        if len(set(pairs)) != len(pairs):
            raise ValueError("each pair of edges has one [[links]] entry")
        return self


def load(path: Path) -> WanSettings:
    """Raises SettingsInvalid, with a line for each thing that is wrong."""
    try:
        return WanSettings.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SettingsInvalid([f"{path}: cannot be read: {error.strerror}"]) from None
    except ValidationError as error:
        raise SettingsInvalid([f"{path}: {_told(item)}" for item in error.errors()]) from None
    except ValueError as error:  # neither TOML nor UTF-8
        raise SettingsInvalid([f"{path}: {error}"]) from None


def _told(item: Any) -> str:
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in item["loc"]).removeprefix(".")
    text = "unknown key" if item["type"] == "extra_forbidden" else str(item["msg"]).removeprefix("Value error, ")
    return f"{key}: {text}" if key else text
