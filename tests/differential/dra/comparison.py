"""A comparison of the DRA side of the fake kubelet with a real one after each step of a script."""

from hub.testing.dra import DraKubelet
from hub.testing.dra.process import DraProcess
from hub.testing.kubelet.process import KubeletProcess
from tests.differential.comparison import Difference
from tests.differential.dra.script import Writer
from tests.differential.dra.side import Side
from tests.harness.dra import dra_node
from tests.harness.realdra import real_dra

_TIMES = {"reconcile_period": 0.3}


async def compare(seed: int, version: str) -> Difference | None:
    """Return the first difference, or None if there is none."""
    try:
        return await _compare(seed, version)
    except Exception as error:
        error.add_note(f"seed {seed}")
        raise


async def _compare(seed: int, version: str) -> Difference | None:
    steps = Writer(seed).write()
    real_type, fake_type = _kubelet(real_dra(version)), _kubelet(DraProcess)
    async with (
        dra_node(real_type, version=version, **_TIMES) as one,
        dra_node(fake_type, version=version, **_TIMES) as other,
    ):
        real, fake = Side(one), Side(other)
        for side in (real, fake):
            await side.begin()
        for number, step in enumerate(steps, 1):
            await real.perform(step)
            await fake.perform(step)
            if fake.observe() != real.observe():
                return Difference(seed, steps[:number], fake.observe(), real.observe())
    return None


def _kubelet(process: type[DraProcess]) -> type[DraKubelet]:
    """Return a kubelet with this DRA side, whose side for device plugins is the fake one."""
    return type("Kubelet", (DraKubelet,), {"dra_process_type": process, "process_type": KubeletProcess})
