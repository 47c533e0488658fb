"""Why an image could not be fetched: from the engine's words to a cause, with what would help."""

from proxycore import Cause

from ._exits import explain
from ._logs import clean_line
from ._protocol import FailurePattern

PULL_FAULTS: tuple[FailurePattern, ...] = (
    FailurePattern(
        "disk_full",
        r"no space left on device",
        heals=True,
        advice="Remove images and containers that nobody needs (`docker system prune`).",
    ),
    FailurePattern(
        "registry_busy",
        r"toomanyrequests|[Tt]oo [Mm]any [Rr]equests|rate limit",
        heals=True,
        advice="Wait, or `docker login`: who is known may fetch more.",
    ),
    FailurePattern(
        "registry_login",
        r"unauthorized|no basic auth credentials|authentication required|incorrect username"
        r"|\bdenied\b|\b40[13]\b",
        heals=False,
        advice="Is the name right? If it is private: `docker login REGISTRY` as the user that the"
        " proxy runs as.",
    ),
    FailurePattern(
        "image_platform",
        r"no matching manifest for|does not match the specified platform",
        heals=False,
        advice="The image is not made for this machine: take another tag.",
    ),
    FailurePattern(
        "image_unknown",
        r"manifest unknown|manifest for .* not found|name unknown|repository .* not found"
        r"|repository name not known|invalid reference format|invalid tag format",
        heals=False,
        advice="The registry does not have it: is the name right, and the tag?",
    ),
    FailurePattern(
        "registry_unreachable",
        r"connection refused|no such host|i/o timeout|TLS handshake|network is unreachable"
        r"|no route to host|[Cc]lient\.Timeout|context deadline exceeded|connection reset"
        r"|server misbehaving|\bEOF\b|x509: |server gave HTTP response to HTTPS client",
        heals=True,
        advice="The engine cannot reach the registry, or not well: is the network there, and does"
        " the engine know its proxy and its certificates?",
    ),
)
"""What a pull may fail of, the most telling first."""


def pull_cause(image: str, message: str) -> Cause:
    """Return why a pull failed, by the engine's words."""
    words = clean_line(message.replace("\n", " "))
    said = words if image in words else f"{image}: {words}"
    return explain([said], PULL_FAULTS) or Cause("pull_failed", said)
