"""Bare processes: they load the same libraries as the hub, and do the minimum that a row of the benchmarks needs.

Their cost is the floor of that row. When the hub stops loading one of these libraries, they must stop loading it too.
"""
