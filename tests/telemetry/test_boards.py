"""Dashboards and alerts ask for metrics, labels and values that there are."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.house.tree import ROOT, name_of

from .boards import faults_of_builder, faults_of_promql

DOCS = ROOT / "docs"
GRAFANA = DOCS / "grafana" / "aiproxy.json"
RULES = DOCS / "prometheus" / "aiproxy.rules.yaml"
BOARDS = sorted((DOCS / "signoz" / "dashboards").glob("*.json"))
ALERTS = sorted((DOCS / "signoz" / "alerts").glob("*.json"))
DATA_SOURCE = "${datasource}"


def faults_of_grafana(text: str) -> Iterator[str]:
    """Yield what is wrong with a dashboard of Grafana."""
    board = json.loads(text)
    if board["uid"] is not None or board["id"] is not None:
        yield "it has an id of one Grafana"
    for found in nested(board, "datasource"):
        if found["uid"] != DATA_SOURCE:
            yield f"a data source of one Grafana: {found['uid']}"
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
            assert asked
            yield from faults_of_promql(f"sum by ({asked[2]}) ({asked[1]})")
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    for panel in panels:
        if not panel["title"] or not panel["fieldConfig"]["defaults"]["unit"]:
            yield f"no title, or no unit: {panel['title']!r}"
        for target in panel["targets"]:
            query = target["expr"]
            yield from faults_of_promql(query)
            for label in re.findall(r"{{(\w+)}}", target.get("legendFormat", "")):
                if not re.search(rf"by \([^)]*\b{label}\b", query):
                    yield f"{label} is in the legend alone"
    for key in ("title", "gridPos"):
        yield from twice([str(panel[key]) for panel in panels])


def faults_of_board(text: str) -> Iterator[str]:
    """Yield what is wrong with a dashboard of SigNoz."""
    spec = json.loads(text)["spec"]
    panels = spec["panels"]
    for panel in panels.values():
        display, plugin = panel["spec"]["display"], panel["spec"]["plugin"]["spec"]
        formatting = plugin["formatting"]
        units = [formatting["unit"]] if "unit" in formatting else formatting["columnUnits"].values()
        if not display["name"] or not all(units) or not units:
            yield f"no title, or no unit: {display['name']!r}"
        queries = list(builders(panel))
        assert queries
        for query in queries:
            yield from faults_of_builder(query)
    yield from twice([panel["spec"]["display"]["name"] for panel in panels.values()])
    laid = [item["content"]["$ref"] for item in spec["layouts"][0]["spec"]["items"]]
    if sorted(laid) != sorted(f"#/spec/panels/{key}" for key in panels):
        yield "what is laid out is not what there is"


def faults_of_alert(text: str) -> Iterator[str]:
    """Yield what is wrong with an alert of SigNoz."""
    alert = json.loads(text)
    grouped = set()
    for query in builders(alert):
        yield from faults_of_builder(query)
        grouped |= {group["name"] for group in query["groupBy"]}
    told = re.findall(r"{{\$([\w.]+)}}", alert["annotations"]["summary"])
    for name in {*told, *alert["notificationSettings"]["groupBy"]} - grouped:
        yield f"{name} is not grouped by"
    if re.findall(r"(\w+)", alert["labels"]["severity"]) != [
        one["name"] for one in alert["condition"]["thresholds"]["spec"]
    ]:
        yield "its severity has two names"


def faults_of_rules(text: str) -> Iterator[str]:
    """Yield what is wrong with alerts of Prometheus."""
    for group in yaml.safe_load(text)["groups"]:
        for rule in group["rules"]:
            yield from faults_of_promql(rule["expr"])


def nested(value: Any, key: str) -> Iterator[Any]:
    """Yield all that stands under a key, at any depth."""
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            yield from nested(inner, key)
    if isinstance(value, dict) and isinstance(value.get(key), dict):
        yield value[key]


def builders(value: Any) -> Iterator[dict[str, Any]]:
    """Yield all queries of SigNoz's builder."""
    return (spec for spec in nested(value, "spec") if "aggregations" in spec)


def twice(told: list[str]) -> list[str]:
    return [f"twice: {one}" for one in set(told) if told.count(one) > 1]


CHECKS = {
    GRAFANA: faults_of_grafana,
    RULES: faults_of_rules,
    **dict.fromkeys(BOARDS, faults_of_board),
    **dict.fromkeys(ALERTS, faults_of_alert),
}


def board(name: str) -> Path:
    [found] = [path for path in CHECKS if name_of(path).endswith(name)]
    return found


@pytest.mark.parametrize("path", CHECKS, ids=name_of)
def test_it_names_what_there_is(path: Path) -> None:
    """Metrics and labels of the catalogue, spelt as they are there; each panel has its unit."""
    assert list(CHECKS[path](path.read_text())) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "fault"),
    [
        ("aiproxy.json", "aiproxy_oom_total", "aiproxy_oom", "no metric aiproxy_oom"),
        ("aiproxy.json", "by (le, phase)", "by (le, fase)", "no label fase"),
        ("aiproxy.json", "by (model)", "by (device)", "has no label device"),
        ("aiproxy.json", "{instance=~", "{type=~", "has no label type"),
        ("aiproxy.json", '"unit": "bytes"', '"unit": ""', "no unit"),
        ("aiproxy.json", '"Memory of GPUs"', '""', "no title"),
        ("aiproxy.json", "{{model}}", "{{service}}", "service is in the legend alone"),
        ("aiproxy.json", '"uid": "${datasource}"', '"uid": "P1809"', "a data source of one"),
        (
            "aiproxy.json",
            "label_values(aiproxy_build_info",
            "label_values(build",
            "no metric build",
        ),
        (
            "dashboards/errors.json",
            "aiproxy.oom",
            "aiproxy_oom_total",
            "no metric aiproxy_oom_total",
        ),
        ("dashboards/errors.json", "failed|backoff", "broken", "is never broken"),
        ("dashboards/errors.json", '"aiproxy.cause"', '"cause"', "no label cause"),
        ("gpu.json", '"unit": "watt"', '"unit": ""', "no unit"),
        ("models.json", '"timeAggregation": "rate"', '"timeAggregation": "sum"', "not derived"),
        ("models.json", "#/spec/panels/tokens-by-model", "#/spec/panels/x", "what is laid out"),
        ("service-failed.json", "= 'failed'", "= 'fallen'", "is never fallen"),
        ("hot.json", "{{$hw.id}}", "{{$service}}", "service is not grouped by"),
        ("aiproxy.rules.yaml", "hw_temperature_celsius", "hw_temperature", "no metric"),
        ("aiproxy.rules.yaml", 'state="failed"', 'state="fallen"', "is never fallen"),
    ],
)
def test_a_mistake_is_found(name: str, old: str, new: str, fault: str) -> None:
    """Each kind of mistake, in a copy."""
    path = board(name)
    text = path.read_text()
    assert old in text
    assert fault in "; ".join(CHECKS[path](text.replace(old, new)))


@pytest.mark.promtool
def test_alerts_fire_when_they_should() -> None:
    """Prometheus' own tests of rules say so, which stand beside them."""
    for command in (["check", "rules", RULES.name], ["test", "rules", "aiproxy.rules.test.yaml"]):
        done = subprocess.run(
            ["promtool", *command], cwd=RULES.parent, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
