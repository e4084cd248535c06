"""Node labels, with the names and values of Intel's rules for Node Feature Discovery."""

from collections import Counter
from collections.abc import Sequence

from plugins.intel.discovery.gpus import Gpu
from plugins.intel.discovery.models import MODELS
from plugins.intel.resources import DRIVERS

_CLASSES = ("0300", "0380")
"""The PCI classes of Intel's GPUs: VGA controllers and other display controllers."""

_PREFIX = "gpu.intel.com"


def node_labels(gpus: Sequence[Gpu]) -> dict[str, str]:
    """Return the node labels for these GPUs; none if there is no GPU."""
    known = [gpu for gpu in gpus if gpu.class_code in _CLASSES and gpu.device]
    found: dict[str, str] = {}
    for (kind, device), count in Counter((gpu.class_code, gpu.device) for gpu in known).items():
        name = f"{_PREFIX}/device-id.{kind}-{device.removeprefix('0x')}"
        found |= {f"{name}.present": "true", f"{name}.count": str(count)}
    if any(gpu.driver in DRIVERS for gpu in known):
        found["intel.feature.node.kubernetes.io/gpu"] = "true"
    return found | _model([model for gpu in known if (model := MODELS.get(gpu.device))])


def _model(models: Sequence[str]) -> dict[str, str]:
    """Return the labels of the most frequent of these models, such as "Flex 170" or "A Series"."""
    if not models:
        return {}
    ((model, count),) = Counter(models).most_common(1)
    family = f"{model.partition(' ')[0]}_Series"
    if model.endswith(" Series"):
        return {f"{_PREFIX}/family": family}
    product = model.replace(" ", "_")
    return {f"{_PREFIX}/family": family, f"{_PREFIX}/product": product, f"{_PREFIX}/device.count": str(count)}
