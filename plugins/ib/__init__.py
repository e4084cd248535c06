"""RDMA devices: InfiniBand, RoCE and their like. `plugins.ib:IB` is the plugin."""

from plugins.ib.plugin import IB

__all__ = ["IB"]
