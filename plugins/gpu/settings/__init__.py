"""The GPU plugin's configuration: NVIDIA's own file, with one additional key."""
