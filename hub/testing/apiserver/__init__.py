"""An API server without a cluster: the objects of dynamic resource allocation, for tests and demos.

It speaks HTTP, with TLS as in a cluster, and behaves like kube-apiserver: versions and conflicts, watches with
bookmarks, field selectors, permissions by token, the rules for ResourceSlices with the server's wording, and fields
that are silently dropped where the feature gate is off in its version. What differs on purpose:

- It has the kinds of objects that a driver, a kubelet and the scheduler use, and checks the rules of slices only.
- Lists are not paginated, and a patch of any type counts as a merge patch.
- The admission policy that restricts a service account to the slices of its node is built in.
- No component deletes pods or creates claims from templates; `Scheduler` allocates when it is called.

    async with FakeApiServer(directory, version="1.36") as server:
        server.add_node("node-1")
        account = server.write_account("node-1")
"""

from hub.testing.apiserver.access import DRIVER_PERMISSIONS
from hub.testing.apiserver.errors import RequestError
from hub.testing.apiserver.faults import Fault
from hub.testing.apiserver.handler import Request
from hub.testing.apiserver.kinds import CLAIMS, CLASSES, EVENTS, NODES, PODS, SLICES, Kind, Object
from hub.testing.apiserver.scheduler import AllocationError, ExtendedClaim, RequestMapping, Scheduler
from hub.testing.apiserver.server import FakeApiServer

__all__ = [
    "CLAIMS",
    "CLASSES",
    "DRIVER_PERMISSIONS",
    "EVENTS",
    "NODES",
    "PODS",
    "SLICES",
    "AllocationError",
    "ExtendedClaim",
    "FakeApiServer",
    "Fault",
    "Kind",
    "Object",
    "Request",
    "RequestError",
    "RequestMapping",
    "Scheduler",
]
