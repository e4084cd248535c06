"""Ground that everything stands on: it knows no device and no kubelet."""
