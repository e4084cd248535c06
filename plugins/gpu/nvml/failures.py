"""Failures after which this process cannot use the driver."""


class DriverFailure(Exception):
    """This process can no longer use the driver; the text says why."""


class DriverTimeout(DriverFailure):
    """The driver does not answer."""


class DriverMismatch(DriverFailure):
    """The library loaded in this process and the kernel module are of different versions."""
