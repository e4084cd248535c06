"""Discovery of device files, and of devices in sysfs."""
