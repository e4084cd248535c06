"""What the kernel reports about AMD GPUs: the driver's sysfs files, and the topology from KFD, the compute driver."""
