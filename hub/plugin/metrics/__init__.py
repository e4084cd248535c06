"""The metrics of a plugin process, and the plugin's own."""
