"""What administrators should know about a configuration: settings that NVIDIA's plugin accepts and then ignores."""

from collections import Counter
from collections.abc import Iterator, Mapping

from plugins.gpu.settings.file import GPUSettings
from plugins.gpu.settings.xids import DISABLE, ENABLE, malformed


def notes(settings: GPUSettings, environment: Mapping[str, str]) -> Iterator[str]:
    """Name each setting that has no effect, and what applies instead."""
    sharing = settings.sharing
    if sharing.time_slicing and sharing.mps:
        yield "sharing.timeSlicing is ignored: sharing.mps is set, and only one of the two applies"
    if mode := sharing.mode:
        where = "sharing.mps" if sharing.mps else "sharing.timeSlicing"
        replicas = {entry.name: entry.replicas for entry in mode.entries if entry.devices == "all"}
        counts = Counter(entry.name for entry in mode.resources if entry.devices == "all")
        for name, times in counts.items():
            if times > 1:
                largest = f"the one with {replicas[name]} replicas applies"
                yield f"{where}.resources has {times} entries for {name}: {largest}"
    for variable in (DISABLE, ENABLE):
        if words := malformed(environment, variable):
            named = ", ".join(f'"{word}"' for word in words)
            yield f'{variable}: {named} is ignored, expected "all", "xids" or a list of XIDs such as "13,31"'
