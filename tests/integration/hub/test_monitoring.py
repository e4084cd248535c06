"""What Prometheus and Grafana get, checked by Prometheus's own tool."""

import json
import re
import subprocess
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from tests.harness.operated import GPU, HCA, operated
from tests.harness.project import PROJECT
from tests.harness.tools import tool

MONITORING = PROJECT / "container" / "monitoring"
SUFFIXES = ("_bucket", "_count", "_sum")
ONLY_WITH_DRA = {"dphub_claims_rejected_total"}
"""Metrics in the rules that a node has only if one of its plugins serves dynamic resource allocation."""


def _promtool(*words: str, text: str | None = None) -> None:
    __tracebackhide__ = True  # so that a skip is counted for the test
    done = subprocess.run(
        [tool("promtool"), *words], input=text, capture_output=True, text=True, check=False, cwd=MONITORING
    )
    assert (done.returncode, done.stderr) == (0, ""), done


def _rules() -> list[str]:
    groups = yaml.safe_load((MONITORING / "rules.yaml").read_text())["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def _panels() -> Iterator[dict[str, Any]]:
    return iter(json.loads((MONITORING / "dashboard.json").read_text())["panels"])


def _queries() -> list[str]:
    """Return the dashboard's queries, with values for Grafana's variables."""
    found = [target["expr"] for panel in _panels() for target in panel["targets"]]
    values = {"$__rate_interval": "5m", "$__range": "6h", "$instance": ".*", "$device": ".*"}
    return [reduce(lambda text, name: text.replace(name, values[name]), values, query) for query in found]


TESTS = ("rules_test.yaml", "rules_week_test.yaml")
"""The tests of the rules, over minutes and over days."""


def test_the_alert_rules() -> None:
    """The rules are valid, and their alerts are raised when they should be."""
    _promtool("check", "rules", "rules.yaml")
    _promtool("test", "rules", *TESTS)


def test_every_alert_is_tested() -> None:
    """Each alert is raised at least once in the tests of the rules."""
    groups = yaml.safe_load((MONITORING / "rules.yaml").read_text())["groups"]
    tests = [test for name in TESTS for test in yaml.safe_load((MONITORING / name).read_text())["tests"]]
    raised = {each["alertname"] for test in tests for each in test["alert_rule_test"] if each["exp_alerts"]}
    assert raised == {rule["alert"] for group in groups for rule in group["rules"]}


def test_the_dashboard(tmp_path: Path) -> None:
    """Prometheus accepts each query; each panel has a title and a description, and overlaps no other."""
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(_queries())]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    _promtool("check", "rules", str(file))
    assert all(panel["title"] and panel["description"] for panel in _panels())
    assert len({panel["id"] for panel in _panels()}) == len(rules)
    cells = [cell for panel in _panels() for cell in _cells(panel["gridPos"])]
    assert len(cells) == len(set(cells))


def _cells(at: dict[str, int]) -> Iterator[tuple[int, int]]:
    return ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"]))


OF_A = 'instance="a",plugin="gpu",resource="nvidia.com/gpu"'


def _held(device: str, physical: str, namespace: str, pod: str) -> str:
    about = f'device="{device}",physical="{physical}",namespace="{namespace}",pod="{pod}",container="c"'
    return f"dphub_device_held{{{OF_A},{about}}}"


SERIES = {
    _held("GPU-1::0", "GPU-1", "x", "p"): "1x2000",
    _held("GPU-1::1", "GPU-1", "y", "q"): "1x2000",
    _held("GPU-2", "GPU-2", "y", "q"): "1x2000",
    'DCGM_FI_DEV_GPU_UTIL{UUID="GPU-1",gpu="0",pod="dcgm"}': "40x2000",
    'DCGM_FI_DEV_GPU_UTIL{UUID="GPU-2",gpu="1",pod="dcgm"}': "80x2000",
    'DCGM_FI_DEV_GPU_UTIL{UUID="GPU-3",gpu="2",pod="dcgm"}': "10x2000",
    f'dphub_devices{{{OF_A},health="unhealthy"}}': "2x2000",
    'dphub_device_held{instance="b",plugin="ib",resource="rdma/hca",device="1",physical="1",namespace="y"}': "1x2000",
    'dphub_devices{instance="b",plugin="ib",resource="rdma/hca",health="unhealthy"}': "0x2000",
    'dphub_devices{instance="b",plugin="gpu",resource="nvidia.com/gpu",health="unhealthy"}': "1x2000",
    # One GPU in use all the time, and one from the tenth hour on, after a restart of its node.
    f'dphub_device_held_seconds_total{{{OF_A},namespace="x"}}': "1000000+60x2000",
    'dphub_device_held_seconds_total{instance="b",plugin="gpu",resource="nvidia.com/gpu",namespace="y"}': (
        "5000x599 0+60x1400"
    ),
}
"""What hubs and dcgm-exporters report each minute."""


def test_the_queries_of_the_page(tmp_path: Path) -> None:
    """Each query gives what the page says, as Prometheus evaluates it."""
    page = (PROJECT / "docs/operating.md").read_text()
    of_pods, of_unhealthy, hours = re.findall(r"```promql\n(.*?)```", page, re.DOTALL)
    held = [name for name in SERIES if name.startswith(f"dphub_device_held{{{OF_A}")]
    expected = {
        of_pods: {'{namespace="x",pod="p"}': 40, '{namespace="y",pod="q"}': 60},
        of_unhealthy: dict.fromkeys(held, 1),
        hours: {'{namespace="x"}': 24, '{namespace="y"}': 14},
    }
    tests = [
        {"expr": query, "eval_time": "24h", "exp_samples": [{"labels": k, "value": v} for k, v in values.items()]}
        for query, values in expected.items()
    ]
    series = [{"series": name, "values": values} for name, values in SERIES.items()]
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": tests}]}))
    _promtool("test", "rules", str(file))


async def test_metrics_of_a_whole_node() -> None:
    """Prometheus finds no mistake in the metrics, and every metric that a rule or a panel uses is there."""
    async with operated() as node:
        await node.kubelet.admit("trainer", {GPU: 2, HCA: 1})
        counters = node.root / "sys/class/infiniband/mlx5_0/ports/1/counters"
        counters.mkdir()
        (counters / "symbol_error").write_text("7\n")
        node.gpus.xid(3, 79)
        await node.kubelet.wait_for(GPU, 7)
        await node.dphub("reset", "stub-1")
        await node.dphub("restart", "stub")
        metrics = {"xid": 0.0, "errors": 0.0}
        while not all(metrics.values()):
            await node.next_heartbeat()
            metrics["xid"] = await node.metric("dphub_gpu_xid_errors_total", xid="79")
            metrics["errors"] = await node.metric("dphub_ib_port_errors_total", device="mlx5_0", counter="symbol_error")
        assert metrics == {"xid": 1, "errors": 7}
        assert await node.metric("dphub_ib_port_up") == 8
        assert await node.metric("dphub_ib_port_rate_bytes_per_second", device="mlx5_0") == 25e9
        assert await node.metric("dphub_devices_allocated", resource=GPU) == 2
        assert await node.metric("dphub_device_held", resource=GPU, namespace="default", pod="trainer") == 2
        assert await node.metric("dphub_rpc_duration_seconds_count", method="Allocate", code="OK", plugin="gpu") == 1
        assert await node.metric("dphub_device_health_transitions_total", source="broken", health="unhealthy") == 1
        code, text = await node.get("/metrics")
    assert code == 200
    _promtool("check", "metrics", text=text)
    there = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    wanted = {name for query in (*_rules(), *_queries()) for name in re.findall(r"dphub_\w+", query)}
    assert {_base(name) for name in wanted} - ONLY_WITH_DRA <= there
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(samples) < 1000


def _base(name: str) -> str:
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)
