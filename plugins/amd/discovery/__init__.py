"""What the kernel reports about AMD GPUs: the driver's sysfs files, and the topology of KFD, the compute driver."""
