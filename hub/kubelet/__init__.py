"""The kubelet's side: the wire APIs, a fake kubelet, a client of the pod resources API."""
