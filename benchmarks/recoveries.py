"""A plugin whose devices may break as often in a minute as the devices of other plugins may in a day."""

from hub import RecoveryPolicy
from plugins.stub.plugin import Stub


class UnlimitedRecoveries(Stub):
    """The stub, without a limit on recoveries."""

    recovery = RecoveryPolicy(max_recoveries=1_000_000)
