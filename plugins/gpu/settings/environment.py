"""Environment variables that override the file, as in NVIDIA's plugin."""

from collections.abc import Callable, Mapping

import msgspec

from hub import ConfigError, validation_problem
from plugins.gpu.settings.file import GPUSettings

_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
"""The values accepted by Go's strconv.ParseBool, with which NVIDIA's plugin reads these variables."""


def _boolean(text: str) -> bool:
    if text not in _BOOLEANS:
        raise ValueError(f'"{text}" is neither true nor false')
    return _BOOLEANS[text]


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(text: str) -> list[int]:
    return [int(part) for part in _list(text)]


VARIABLES: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "MIG_STRATEGY": ("flags.migStrategy", str),
    "FAIL_ON_INIT_ERROR": ("flags.failOnInitError", _boolean),
    "NVIDIA_DRIVER_ROOT": ("flags.nvidiaDriverRoot", str),
    "NVIDIA_DEV_ROOT": ("flags.nvidiaDevRoot", str),
    "GDRCOPY_ENABLED": ("flags.gdrcopyEnabled", _boolean),
    "GDS_ENABLED": ("flags.gdsEnabled", _boolean),
    "MOFED_ENABLED": ("flags.mofedEnabled", _boolean),
    "DEVICE_DISCOVERY_STRATEGY": ("flags.deviceDiscoveryStrategy", str),
    "MPS_ROOT": ("flags.mpsRoot", str),
    "USE_NODE_FEATURE_API": ("flags.useNodeFeatureAPI", _boolean),
    "PASS_DEVICE_SPECS": ("flags.plugin.passDeviceSpecs", _boolean),
    "DEVICE_LIST_STRATEGY": ("flags.plugin.deviceListStrategy", _list),
    "DEVICE_ID_STRATEGY": ("flags.plugin.deviceIDStrategy", str),
    "CDI_ANNOTATION_PREFIX": ("flags.plugin.cdiAnnotationPrefix", str),
    "NVIDIA_CTK_PATH": ("flags.plugin.nvidiaCTKPath", str),
    "NVIDIA_CDI_HOOK_PATH": ("flags.plugin.nvidiaCTKPath", str),
    "CONTAINER_DRIVER_ROOT": ("flags.plugin.containerDriverRoot", str),
    "DRIVER_ROOT_CTR_PATH": ("flags.plugin.containerDriverRoot", str),
    "SHARED_DEVICES_ALLOCATION_POLICY": ("flags.plugin.sharedDevicesAllocationPolicy", str),
    "CDI_DISABLE_HOOKS": ("dphub.cdi.disable_hooks", _list),
    "CDI_FEATURE_FLAGS": ("dphub.cdi.feature_flags", _list),
    "IMEX_CHANNEL_IDS": ("imex.channelIDs", _numbers),
    "IMEX_REQUIRED": ("imex.required", _boolean),
}
"""The key that each variable sets and how its text is read; an empty variable sets nothing."""


def apply_environment(settings: GPUSettings, environment: Mapping[str, str]) -> GPUSettings:
    """Return the settings with overrides from the environment.

    Raises:
        ConfigError: a variable has a value that its key does not accept.
    """
    for variable, (key, read) in VARIABLES.items():
        if not (text := environment.get(variable, "")):
            continue
        try:
            settings = _with(settings, key.split("."), read(text))
        except msgspec.ValidationError as error:
            raise ConfigError(variable, f"{validation_problem(error, GPUSettings)[0]} (it sets {key})") from None
        except ValueError as error:
            raise ConfigError(variable, f"{error} (it sets {key})") from None
    return settings


def _with(settings: GPUSettings, key: list[str], value: object) -> GPUSettings:
    plain = msgspec.to_builtins(settings)
    section = plain
    for part in key[:-1]:
        section = section[part]
    section[key[-1]] = value
    return msgspec.convert(plain, GPUSettings)
