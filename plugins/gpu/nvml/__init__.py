"""The driver, asked in one thread: nobody else ever waits for NVML without a limit."""

from plugins.gpu.nvml.driver import Driver, DriverFailure, DriverMismatch, DriverTimeout
from plugins.gpu.nvml.session import Xid

__all__ = ["Driver", "DriverFailure", "DriverMismatch", "DriverTimeout", "Xid"]
