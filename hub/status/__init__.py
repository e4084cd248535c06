"""The status of a node: the reports of all its processes, combined and evaluated.

It comes from the files in the run directory alone, so it works for the command line and the web endpoints, even
when the hub is no longer running.
"""
