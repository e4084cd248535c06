"""The condition of a node: what all its processes tell about themselves, put together and judged.

Made from the files in the run directory alone, so it works for the command line, for the web endpoints, and also when
the hub is gone.
"""
