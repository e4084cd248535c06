"""The resource names that a kubelet accepts from plugins.

The longest has 308 characters: 244 of the domain, a slash and 63 of the name. `validate_resource_name` in
hub/plugin/devices/validation.py must agree with this module.
"""

import re

_NATIVE_PREFIX = "kubernetes.io/"
_QUOTA_PREFIX = "requests."
_DOMAIN_CHARACTERS = 253
_NAME_CHARACTERS = 63
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")


def is_extended_resource_name(name: str) -> bool:
    """Return whether a plugin may register this name.

    The kubelet checks whether "requests." plus the name, its form in a quota, is a qualified name
    (kubernetes, pkg/apis/core/v1/helper, IsExtendedResourceName).
    """
    domain, slash, rest = name.partition("/")
    quota_domain = _QUOTA_PREFIX + domain
    return (
        bool(slash)
        and _NATIVE_PREFIX not in name
        and not name.startswith(_QUOTA_PREFIX)
        and len(quota_domain) <= _DOMAIN_CHARACTERS
        and _DOMAIN.fullmatch(quota_domain) is not None
        and len(rest) <= _NAME_CHARACTERS
        and _NAME.fullmatch(rest) is not None
    )
