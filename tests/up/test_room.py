"""What a start takes away before it begins, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradewind.common.process import StartError
from tradewind.up.main import _make_room


def test_an_earlier_fleet_makes_room(tmp_path: Path) -> None:
    for name in ("settings/wan.toml", "control/keys/ca.key", "edges/sg/routes.bin", "logs/sg.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    _make_room(tmp_path)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["logs", "settings"]
    assert list((tmp_path / "settings").iterdir()) == []
    _make_room(tmp_path)


@pytest.mark.parametrize("name", ["control/keys/ca.key", "control/__init__.py", "settings/prod.toml", "edges/sg/lock"])
def test_what_no_fleet_of_ours_has_made_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).touch()
    with pytest.raises(StartError, match="name another --data-dir"):
        _make_room(tmp_path)
    assert (tmp_path / name).exists()
