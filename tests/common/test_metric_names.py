"""Metric names and labels of all Python parts, by the rules that dashboards and alerts rely on."""

from __future__ import annotations

import re

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from control.metrics import ControlMetrics
from edge.mesh.metrics import MeshMetrics
from edge.metrics import EdgeMetrics

REGISTRIES = {"edge": EdgeMetrics().registry, "mesh": MeshMetrics().registry, "control": ControlMetrics().registry}
FOREIGN = re.compile(r"(process|python)_")
# A label with a value per room or person would make as many series as there are rooms or people.
PERSONAL = {"room", "stream_id", "person", "session", "session_id", "resource", "incarnation"}


def metrics(registry: CollectorRegistry) -> list[Metric]:
    """Those of our own."""
    return [metric for metric in registry.collect() if not FOREIGN.match(metric.name)]


@pytest.mark.parametrize("part", REGISTRIES)
def test_names_and_labels_keep_to_the_rules(part: str) -> None:
    found = metrics(REGISTRIES[part])
    assert found
    for metric in found:
        assert metric.name.startswith("tradewind_")
        assert metric.documentation.endswith(".")
        assert not re.search(r"_(ms|milliseconds|percent|kbit|mbit)(_|$)", metric.name), "base units only"
        if metric.type == "histogram":
            assert metric.name.endswith(("_seconds", "_bytes", "_ratio"))
        for sample in metric.samples:
            assert not PERSONAL & set(sample.labels)
            assert not sample.name.endswith("_created")
            if metric.type == "counter":
                assert sample.name.endswith("_total")


@pytest.mark.parametrize("part", REGISTRIES)
def test_every_counter_is_there_before_its_first_event(part: str) -> None:
    for metric in metrics(REGISTRIES[part]):
        assert metric.samples or metric.type == "gauge", f"{metric.name} appears only with its first event"


def test_no_metric_of_an_edge_is_given_twice() -> None:
    """An edge puts the texts of its parts behind each other."""
    names = [metric.name for part in ("edge", "mesh") for metric in metrics(REGISTRIES[part])]
    assert len(names) == len(set(names))
    assert not [name for name in names if name.startswith("tradewind_dataplane_")], "the packet path's own"
