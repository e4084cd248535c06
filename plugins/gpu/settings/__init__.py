"""The GPU plugin's configuration: NVIDIA's own file, and one key more."""

from plugins.gpu.settings.file import AllocationPolicy, DeviceIDStrategy, DeviceListStrategy, GPUSettings
from plugins.gpu.settings.levels import ResetLevel

__all__ = ["AllocationPolicy", "DeviceIDStrategy", "DeviceListStrategy", "GPUSettings", "ResetLevel"]
