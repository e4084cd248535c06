"""The project may be used, and so may everything that is installed with it."""

import hashlib
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageMetadata, distribution

import pytest
import yaml

from scripts import lock
from tests.docs.docs_tools import ROOT

APACHE = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
"""SHA-256 of the licence's text as the Apache Software Foundation publishes it."""

COMPATIBLE = ("Apache", "BSD", "MIT", "MPL-2.0", "PSF")
"""Licences under which a dependency may ship with code under Apache-2.0, unchanged and in files of its own."""

INSTALLED = re.findall(r"^([a-z0-9._-]+)==", lock.RUNTIME.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_licence_is_apache_2() -> None:
    """The project has the licence word for word, and the package, the image and the chart name it."""
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    chart = yaml.safe_load((ROOT / "container/chart/device-plugin-hub/Chart.yaml").read_text(encoding="utf-8"))
    (label,) = re.findall(r'image\.licenses="(.+?)"', (ROOT / "container/Containerfile").read_text(encoding="utf-8"))
    named = [project["license"], chart["annotations"]["artifacthub.io/license"], label]
    assert named == ["Apache-2.0"] * 3


def _licences(metadata: PackageMetadata) -> Iterator[str]:
    """Yield what a package says about its licence, from each of the places where packages say it."""
    for field in ("License-Expression", "License", "Classifier"):
        for text in metadata.get_all(field) or ():
            if field != "Classifier":
                yield text
            elif text.startswith("License :: "):
                yield text.rpartition(" :: ")[2]


@pytest.mark.parametrize("name", INSTALLED)
def test_the_licence_of_each_dependency_is_compatible(name: str) -> None:
    """Every package in the image states its licences, and each of them allows shipping the package."""
    said = list(_licences(distribution(name).metadata))
    assert said
    parts = [part for text in said for part in re.split(r" AND | OR ", text)]
    assert [part for part in parts if not any(known in part for known in COMPATIBLE)] == []
