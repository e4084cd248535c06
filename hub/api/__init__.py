"""Definitions behind the public names of `hub`: no asyncio, no gRPC, no process."""
