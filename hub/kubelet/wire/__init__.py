"""The kubelet's APIs as .proto files, and the code generated from them."""
