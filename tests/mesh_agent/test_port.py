"""What the mesh reads of the packet path's snapshot."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from edge.mesh.port import NativePort


@pytest.mark.parametrize(
    ("local", "path", "active"),
    [
        (True, ["sg"], ("sg",)),
        (False, ["sg", "iad", "fra"], ("sg", "iad", "fra")),
        (False, ["fra"], ()),
        (False, [], ()),
    ],
)
def test_a_stream_that_has_only_been_asked_for_flows_over_no_path(
    local: bool, path: list[str], active: tuple[str, ...]
) -> None:
    stream = SimpleNamespace(
        room="demo", incarnation=7, local=local, codecs=["vp8"], viewers=1, path=path, phase="steady", bytes=0
    )
    snapshot = SimpleNamespace(trunks=[], streams=[stream], hosts=0, viewers=1, cpu_seconds={})
    port = NativePort(cast(Any, SimpleNamespace(snapshot=lambda: snapshot)))
    (found,) = port.sample().streams
    assert found.active_path == active
