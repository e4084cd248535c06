"""The NVIDIA driver: its library NVML, called in one thread so that nothing else waits for it without a limit."""
