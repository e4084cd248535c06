"""Feature files, read as Node Feature Discovery reads them."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.base.featurefiles import (
    MAX_BYTES,
    MAX_LABELS,
    feature_file,
    features_text,
    label_problem,
    other_feature_files,
    read_features,
)
from tests.simulators import nfd

LABELS = {"example.com/model": "x1", "example.com/empty": "", "a.example.com/B_c.d-e": "1.2-3_4"}
CHARACTERS = "aZ0-_./= \n\té#+"


def test_labels_arrive_as_they_are() -> None:
    """Even an empty value arrives unchanged, and so does every character that labels may have."""
    text = features_text(LABELS)
    assert nfd.parse(text) == LABELS == read_features(text)


def test_labels_expire() -> None:
    """Labels are kept until they expire."""
    now = datetime(2026, 7, 30, 12, tzinfo=UTC)
    text = features_text(LABELS, expiry=now.timestamp() + 600)
    assert nfd.parse(text, now + timedelta(seconds=599)) == LABELS
    assert nfd.parse(text, now + timedelta(seconds=601)) == {}


def test_expired_labels_are_not_kept() -> None:
    """A process that starts much later does not bring back what an earlier one wrote."""
    assert read_features(features_text(LABELS, expiry=time.time() + 60)) == LABELS
    assert read_features(features_text(LABELS, expiry=time.time() - 60)) == {}


def test_other_text_has_no_labels() -> None:
    """Whatever else is in the file, nothing invalid is kept."""
    assert read_features("x\n=\na/b\n a/b=c\na/b=c d\nkubernetes.io/x=y\n\0") == {"a/b": ""}


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("model", "x", "no domain"),
        ("/model", "x", "not a DNS name"),
        ("Example.com/model", "x", "not a DNS name"),
        (f"{'a' * 254}/model", "x", "not a DNS name"),
        ("example.com/", "x", "a name of"),
        ("example.com/a/b", "x", "a name of"),
        ("example.com/-model", "x", "a name of"),
        (f"example.com/{'a' * 64}", "x", "a name of"),
        ("kubernetes.io/model", "x", "reserved for Kubernetes"),
        ("node.kubernetes.io/model", "x", "reserved for Kubernetes"),
        ("example.com/model", "a b", "a value of"),
        ("example.com/model", "a\nb/c=d", "a value of"),
        ("example.com/model", "a\n", "a value of"),
        ("example.com/model", "-", "a value of"),
        ("example.com/model", "a" * 64, "a value of"),
        ("example.com/model", 3, "strings"),
        (None, "x", "strings"),
    ],
)
def test_problems_of_labels(name: object, value: object, problem: str) -> None:
    """The message says what was expected; Node Feature Discovery would refuse the label, too."""
    assert problem in label_problem(name, value)
    assert not (isinstance(name, str) and isinstance(value, str) and nfd.accepts(name, value))


@pytest.mark.parametrize("domain", ["k8s.io", "node.k8s.io", "a.b.k8s.io", "a.kubernetes.io"])
def test_domains_of_kubernetes(domain: str) -> None:
    """Kubernetes reserves them for itself; Node Feature Discovery refuses only some of them."""
    assert "reserved for Kubernetes" in label_problem(f"{domain}/model", "x")


@pytest.mark.parametrize(
    "domain",
    ["k8s.example.com", "xk8s.io", "example.com", "feature.node.kubernetes.io", "a.feature.node.kubernetes.io", "a"],
)
def test_domains_of_labels(domain: str) -> None:
    """A plugin's own domain is valid, and so are those that Node Feature Discovery allows."""
    assert label_problem(f"{domain}/{'a' * 63}", "b" * 63) == ""


@given(st.text(CHARACTERS, max_size=8), st.text(CHARACTERS, max_size=8), st.text(CHARACTERS, max_size=5))
def test_the_same_labels_are_valid(domain: str, rest: str, value: str) -> None:
    """A label is valid if and only if NFD accepts it, and then arrives unchanged."""
    name = f"{domain}/{rest}"
    valid = label_problem(name, value) == ""
    assert valid == nfd.accepts(name, value)
    if valid:
        assert nfd.parse(features_text({name: value})) == {name: value}


def test_the_largest_file_is_read() -> None:
    """It has as many labels as a plugin may have, of maximum length, and those of the hub."""
    own = {f"dphub.dev/{'p' * 53}.unhealthy": "1000000", f"dphub.dev/{'p' * 53}.health": "unhealthy"}
    longest = {f"{'d' * 253}/{'n' * 60}{number:03}": "v" * 63 for number in range(MAX_LABELS)}
    text = features_text({**longest, **own}, expiry=time.time())
    assert len(text) <= MAX_BYTES == nfd.MAX_FILE


def test_files_of_others(tmp_path: Path) -> None:
    """Files of plugins that are not configured and unfinished files are found; files of other programs are not."""
    (tmp_path / "dphub-directory").mkdir()
    for name in ("gfd", ".hidden", ".dphub-gpu.2"):
        (tmp_path / name).touch()
    former, unfinished = feature_file(tmp_path, "ib"), tmp_path / ".dphub-gpu.1"
    for path in (former, unfinished, feature_file(tmp_path, "gpu")):
        path.touch()
    (tmp_path / ".dphub-directory").mkdir()
    for path in (unfinished, tmp_path / ".dphub-directory"):
        os.utime(path, (0, 0))
    assert set(other_feature_files(tmp_path, {"gpu"})) == {former, unfinished}


def test_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    """It has no files."""
    assert list(other_feature_files(tmp_path / "missing", [])) == []
