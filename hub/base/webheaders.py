"""The HTTP header on which the hub's HTTP server and its clients agree."""

NOT_A_PAGE = "Sec-Dphub"
"""A request header that proves that no web page sent the request: browsers do not let a page set a header that begins
with "Sec-" (https://fetch.spec.whatwg.org/#forbidden-request-header)."""
