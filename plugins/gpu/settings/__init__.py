"""The GPU plugin's configuration: NVIDIA's own file, and one key more."""
