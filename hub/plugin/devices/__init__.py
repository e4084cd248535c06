"""Which devices there are: scans, their validation, and the lists that come of them."""
