"""The processes of one reset: a guard that leaves no process behind, and a worker that calls the plugin's function."""
