"""What other packages may offer as a policy: good, bad, and none at all."""

from proxycore import Idle


class Smallest:
    """A policy of another package."""

    name = "it calls itself so"

    def value(self, run: Idle) -> float:
        return float(run.bytes)


class Raises:
    name = "raises"

    def value(self, run: Idle) -> float:
        raise ValueError(f"{run.service} is not to my taste")


class Babbles:
    name = "babbles"

    def value(self, run: Idle) -> str:
        return "much"


class Empty:
    name = "empty"
