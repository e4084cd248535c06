"""`resources` and `sharing`: the names of resources, and how many containers share a device."""

import re

from msgspec.structs import force_setattr

from hub import Settings
from plugins.gpu.settings.selectors import check_selector

GPU_RESOURCE = "nvidia.com/gpu"
"""The resource of GPUs that no pattern matches."""

NAME_CHARACTERS = 63
"""Maximum length of a resource name, including the domain, that NVIDIA's plugin accepts."""

SHARED = ".shared"
"""The suffix that `renameByDefault` adds to a resource's name."""


def resource_name(name: str) -> str:
    """Return a resource's full name; NVIDIA's domain is added if it has none.

    Raises:
        ValueError: no kubelet would accept the name.
    """
    full = name if "/" in name else f"nvidia.com/{name}"
    if len(full) > NAME_CHARACTERS:
        raise ValueError(f'the resource name "{full}" has {len(full)} characters, expected at most {NAME_CHARACTERS}')
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[a-z0-9]([-a-z0-9.]*[a-z0-9])?", full):
        raise ValueError(
            f'"{full}" is not a resource name, expected lower-case letters, digits, "-" and "." after "nvidia.com/"'
        )
    return full


class Pattern(Settings, frozen=True):
    """The resource of devices whose product name (or MIG profile) matches a pattern."""

    pattern: str
    """`*` stands for any text; the pattern must match the whole name, as in NVIDIA's plugin."""
    name: str
    """The resource; NVIDIA's domain is added if it has none."""

    def __post_init__(self) -> None:
        force_setattr(self, "name", resource_name(self.name))

    def matches(self, text: str) -> bool:
        """Return whether the pattern matches a product name or profile."""
        return bool(re.fullmatch(".*".join(map(re.escape, re.split(r"\*+", self.pattern))), text))


class ResourcePatterns(Settings, frozen=True):
    """Resource names: the first matching pattern determines the name."""

    gpus: tuple[Pattern, ...] = ()
    """Resources of GPUs, by product name."""
    mig: tuple[Pattern, ...] = ()
    """Resources of MIG devices, by profile."""
    migs: tuple[Pattern, ...] = ()
    """NVIDIA's name for `mig`, with the same meaning."""


MAX_REPLICAS = 10_000
"""The maximum number of replicas. The list of one GPU's shares then takes a sixth of what a kubelet accepts."""


class SharedResource(Settings, frozen=True):
    """Devices of a resource that several containers share."""

    name: str
    """The resource whose devices are shared; NVIDIA's domain is added if it has none."""
    replicas: int
    """How many containers share a device; at least 2, at most 10000."""
    rename: str = ""
    """The resource of the shared devices. Empty: `name`, with `.shared` added if `renameByDefault` is true."""
    devices: str | int | tuple[int | str, ...] = "all"
    """`all`, a number of devices, or a list of indices, MIG indices ("0:1") or UUIDs."""

    def __post_init__(self) -> None:
        force_setattr(self, "name", resource_name(self.name))
        if self.rename:
            force_setattr(self, "rename", resource_name(self.rename))
        if self.replicas < 2:  # noqa: PLR2004 - one is not shared
            raise ValueError(f"replicas is {self.replicas}, expected at least 2")
        if self.replicas > MAX_REPLICAS:
            raise ValueError(f"replicas is {self.replicas}, expected at most {MAX_REPLICAS}")
        if isinstance(self.devices, str) and self.devices != "all":
            raise ValueError(f'devices is "{self.devices}", expected "all", a number, or a list')
        if isinstance(self.devices, int) and self.devices < 1:
            raise ValueError(f"devices is {self.devices}, expected at least 1")
        if isinstance(self.devices, tuple):
            for selector in self.devices:
                check_selector(selector, pci=False)


class SharingMode(Settings, frozen=True, rename="camel"):
    """`sharing.timeSlicing` or `sharing.mps`."""

    resources: tuple[SharedResource, ...]
    """What is shared."""
    rename_by_default: bool = False
    """Whether `.shared` is added to the names of shared resources."""
    fail_requests_greater_than_one: bool | None = None
    """Whether a container that requests more than one share is refused. The default is true for MPS, else false."""
    strategy: str = ""
    """An obsolete key of NVIDIA's file; must be empty."""

    def __post_init__(self) -> None:
        if self.strategy:
            raise ValueError(f'strategy is "{self.strategy}", but it must be empty')
        if not self.resources:
            raise ValueError("resources is empty, expected at least one")
        whole: dict[str, str] = {}
        for number, resource in enumerate(self.resources):
            shared = self.name_of(resource)
            if whole.get(resource.name, shared) != shared:
                raise ValueError(f"resources[{number}]: an earlier entry already shares all devices of {resource.name}")
            if resource.devices == "all":
                whole[resource.name] = shared

    @property
    def entries(self) -> tuple[SharedResource, ...]:
        """The resources.

        If several entries share all devices of one resource, only the entry with the most replicas counts.
        """
        largest: dict[str, SharedResource] = {}
        for entry in self.resources:
            if entry.devices == "all":
                largest[entry.name] = max(largest.get(entry.name, entry), entry, key=lambda each: each.replicas)
        return tuple(entry for entry in self.resources if entry.devices != "all" or entry is largest[entry.name])

    def name_of(self, resource: SharedResource) -> str:
        """Return the resource under which shared devices are advertised."""
        return resource.rename or (resource.name + SHARED if self.rename_by_default else resource.name)


class SharingSection(Settings, frozen=True, rename="camel"):
    """`sharing`: one of the two modes; if both are set, `mps` applies, as in NVIDIA's plugin."""

    time_slicing: SharingMode | None = None
    mps: SharingMode | None = None

    @property
    def mode(self) -> SharingMode | None:
        """How devices are shared; None if they are not."""
        return self.mps or self.time_slicing

    @property
    def single_requests(self) -> bool:
        """Whether a container may have only one shared device; true by default for MPS, as in NVIDIA's plugin."""
        if self.mode is None:
            return False
        setting = self.mode.fail_requests_greater_than_one
        return self.mps is not None if setting is None else setting
