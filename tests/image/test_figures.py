"""How large the image is and how fast it starts. The figures are printed, and kept in build/image.json."""

import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import STUB
from scripts import image as built
from tests.image.pod import GRACE, ContainerSpec, Image, StartPod

FIGURES = built.WORK.with_suffix(".json")
STARTS = 7


def _keep(capsys: pytest.CaptureFixture[str], **figures: object) -> None:
    known = json.loads(FIGURES.read_bytes()) if FIGURES.exists() else {}
    FIGURES.write_text(json.dumps(known | figures, indent=1) + "\n")
    with capsys.disabled():
        print("", *(f"{name}: {value}" for name, value in figures.items()), sep="\n")  # noqa: T201 - the result


def _part(path: Path) -> str:
    """Return which part of the image a file belongs to."""
    where = path.parts
    if "site-packages" in where:
        return where[where.index("site-packages") + 1]
    if "opt" in where:
        return "the rest of /opt/dphub"
    return "Python" if any(part.startswith(("python3", "libpython3")) for part in where) else "Debian"


def test_the_image_is_small(image: Image, capsys: pytest.CaptureFixture[str]) -> None:
    """The hub and all its packages add at most 25 MB to what a node pulls, and at most 60 MB to what it keeps."""
    parts: Counter[str] = Counter()
    base = hub = 0
    for directory, _, names in os.walk(image.files):
        for name in names:
            path = Path(directory, name)
            size = path.lstat().st_size
            where = path.relative_to(image.files)
            parts[_part(where)] += size
            if where.is_relative_to("opt/dphub"):
                hub += size
            else:
                base += size
    pulled = {"base": image.layers[0], "hub": sum(image.layers[1:])}
    _keep(
        capsys,
        pulled_mb=_megabytes({"all": sum(image.layers), **pulled}),
        unpacked_mb=_megabytes({"all": base + hub, "base": base, "hub": hub}),
        largest_parts_mb=_megabytes(dict(parts.most_common(12))),
    )
    assert pulled["hub"] < 25e6
    assert hub < 60e6


def _megabytes(sizes: Mapping[str, int]) -> dict[str, float]:
    return {name: round(size / 1e6, 1) for name, size in sizes.items()}


async def test_it_starts_fast(
    kubelet: FakeKubelet, start_pod: StartPod, volumes: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Devices are allocatable a second or two after the container starts, and after five seconds at most."""
    seconds = []
    for _ in range(STARTS):
        begin = time.monotonic()
        pod = start_pod(ContainerSpec(volumes=volumes))
        await kubelet.wait_for(STUB, 4, GRACE)
        seconds.append(time.monotonic() - begin)
        pod.signal("TERM")
        assert await pod.ended(GRACE) == 0, pod.log
        await kubelet.wait_for(STUB, 0, GRACE)
    _keep(capsys, start_median_s=round(statistics.median(seconds), 2), start_worst_s=round(max(seconds), 2))
    assert statistics.median(seconds) < 5
