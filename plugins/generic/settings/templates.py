"""The placeholders in the settings' strings, such as {id}."""

FACTS = ("name", "serial", "port", "pci", "vendor", "product")
"""What identifies the hardware: the name of its first file, and the serial number, USB port, PCI address and ids that
sysfs shows; empty if it shows none."""

OF_DEVICE = ("id", "index", *FACTS)
"""As above, and the id of the device and its number in the resource."""

ON_NODE = (*OF_DEVICE, "host_path", "host_paths")
"""As above, and the paths of its files on the node: of the first, and of all, separated by commas."""

IN_CONTAINER = (*ON_NODE, "path", "paths", "share")
"""As above, and the paths in the container and the number of the share."""
