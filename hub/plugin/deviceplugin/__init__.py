"""The device plugin API, v1beta1; nothing else in a plugin process knows its wire format."""
