"""All targets, by their names."""

from collections.abc import Mapping

from tests.fuzz.target import Target
from tests.fuzz.targets.amd import AmdConfig, AmdTreeTarget
from tests.fuzz.targets.apiserver import ApiAnswers
from tests.fuzz.targets.config import CircusIni, GenericConfig, GpuConfig, RdmaConfig
from tests.fuzz.targets.fleet import FleetAnswers
from tests.fuzz.targets.hardware import CdiDirectory, GenericTreeTarget, GpuTreeTarget, RdmaTreeTarget
from tests.fuzz.targets.intel import IntelConfig, IntelTreeTarget, XpumdReport
from tests.fuzz.targets.live import AdminRequests, HttpRequests
from tests.fuzz.targets.pluginsocket import Frames, Requests
from tests.fuzz.targets.podresources import PodResourcesAnswer
from tests.fuzz.targets.service import ServiceMessage
from tests.fuzz.targets.state import Commands, PluginFiles, Reports, Web

TARGETS: Mapping[str, type[Target]] = {
    "circus-ini": CircusIni,
    "gpu-config": GpuConfig,
    "rdma-config": RdmaConfig,
    "amd-config": AmdConfig,
    "intel-config": IntelConfig,
    "generic-config": GenericConfig,
    "reports": Reports,
    "web": Web,
    "commands": Commands,
    "plugin-files": PluginFiles,
    "rdma-sysfs": RdmaTreeTarget,
    "amd-sysfs": AmdTreeTarget,
    "intel-sysfs": IntelTreeTarget,
    "xpumd-reports": XpumdReport,
    "generic-sysfs": GenericTreeTarget,
    "gpu-files": GpuTreeTarget,
    "cdi-files": CdiDirectory,
    "pod-resources": PodResourcesAnswer,
    "api-answers": ApiAnswers,
    "fleet-answers": FleetAnswers,
    "service-messages": ServiceMessage,
    "device-plugin-requests": Requests,
    "http2-frames": Frames,
    "admin-requests": AdminRequests,
    "http-requests": HttpRequests,
}
