"""The status of a node: the reports of all its processes, combined and judged.

It comes from the files in the run directory alone, so it works for the command line and the web endpoints, and also
when the hub is gone.
"""
