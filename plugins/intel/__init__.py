"""Intel GPUs.

`plugins.intel:Intel` is the plugin.
"""

from plugins.intel.plugin import Intel

__all__ = ["Intel"]
