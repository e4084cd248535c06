"""What a plugin process counts, and the plugin's own metrics."""
