"""The hub process: starts, restarts and stops the plugin processes, and watches for the kubelet."""
