"""What the variables of OpenTelemetry ask for: where each signal goes, and how.

The names and their meanings are those of its specification ("OpenTelemetry Environment Variable
Specification" and "OTLP Exporter Configuration").  What we cannot do is told, and that signal
stays off: no mistake in them may keep services from being served.
"""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

import attrs

TIMEOUT_MS = 10_000


class EnvironmentFault(Exception):
    """A variable asks for what is not to be had; the text says which, and what would help."""


@attrs.frozen
class Target:
    """Where one signal goes."""

    signal: str
    """`traces`, `metrics` or `logs`."""
    url: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    """They hold keys, so they are not shown."""
    timeout_s: float
    gzip: bool
    certificate: Path | None = None
    """The authorities that are believed; None: the system's."""
    client_certificate: Path | None = None
    client_key: Path | None = None


@attrs.frozen
class Batching:
    """How a queue of one signal is sent."""

    queue_max: int = 2048
    batch_max: int = 512
    delay_s: float = 5.0


def target_of(signal: str, environ: Mapping[str, str]) -> Target | None:
    """Return where a signal goes; None: nowhere, which is so unless an endpoint is named.

    Raises:
        EnvironmentFault: what is asked for we cannot do.
    """
    own = f"OTEL_EXPORTER_OTLP_{signal.upper()}_"
    exporter = f"OTEL_{signal.upper()}_EXPORTER"

    def ask(name: str) -> str:
        value = environ.get(own + name, "") or environ.get(f"OTEL_EXPORTER_OTLP_{name}", "")
        return value.strip()

    chosen = environ.get(exporter, "").strip().lower() or "otlp"
    if is_on("OTEL_SDK_DISABLED", environ) or chosen == "none" or not ask("ENDPOINT"):
        return None
    if chosen != "otlp":
        raise EnvironmentFault(f"{exporter} is {chosen!r}; there is `otlp` and `none`")
    protocol = ask("PROTOCOL").lower() or "http/protobuf"
    if protocol != "http/protobuf":
        raise EnvironmentFault(
            f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; only http/protobuf is spoken here, which"
            " collectors take at port 4318"
        )
    compression = ask("COMPRESSION").lower() or "none"
    if compression not in ("none", "gzip"):
        raise EnvironmentFault(
            f"OTEL_EXPORTER_OTLP_COMPRESSION is {compression!r}; there is `gzip` and `none`"
        )
    return Target(
        signal,
        _url(signal, environ.get(f"{own}ENDPOINT", "").strip(), environ),
        pairs(ask("HEADERS")),
        number("OTEL_EXPORTER_OTLP_TIMEOUT", ask("TIMEOUT"), TIMEOUT_MS) / 1000,
        compression == "gzip",
        _file("CERTIFICATE", ask("CERTIFICATE")),
        _file("CLIENT_CERTIFICATE", ask("CLIENT_CERTIFICATE")),
        _file("CLIENT_KEY", ask("CLIENT_KEY")),
    )


def batching_of(prefix: str, environ: Mapping[str, str], default: Batching) -> Batching:
    """Return how a queue is sent: `BSP` names that of spans, `BLRP` that of log records.

    Raises:
        EnvironmentFault: a variable holds no number.
    """

    def ask(name: str, otherwise: float) -> float:
        name = f"OTEL_{prefix}_{name}"
        return number(name, environ.get(name, "").strip(), otherwise)

    queue_max = int(ask("MAX_QUEUE_SIZE", default.queue_max))
    batch_max = int(ask("MAX_EXPORT_BATCH_SIZE", min(default.batch_max, queue_max)))
    if batch_max > queue_max:
        raise EnvironmentFault(
            f"OTEL_{prefix}_MAX_EXPORT_BATCH_SIZE is {batch_max}, more than the queue may hold:"
            f" {queue_max}"
        )
    return Batching(queue_max, batch_max, ask("SCHEDULE_DELAY", default.delay_s * 1000) / 1000)


def is_on(name: str, environ: Mapping[str, str]) -> bool:
    """Return what a variable that is true or false says; only `true` is true."""
    return environ.get(name, "").strip().lower() == "true"


def number(name: str, text: str, otherwise: float) -> float:
    """Return the number that a variable holds, or another if it is not set.

    Raises:
        EnvironmentFault: it is none, or none above 0.
    """
    if not text:
        return otherwise
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise EnvironmentFault(f"{name} is {text!r}; it wants a number above 0")
    return value


def pairs(text: str) -> dict[str, str]:
    """Return the pairs of a list such as `a=1,b=two%20words`; what is no pair is left out."""
    found = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if equals and name.strip():
            found[unquote(name.strip())] = unquote(value.strip())
    return found


def _url(signal: str, own: str, environ: Mapping[str, str]) -> str:
    general = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
    url = own or f"{general.rstrip('/')}/v1/{signal}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise EnvironmentFault(f"{own or general!r} is no URL such as http://127.0.0.1:4318")
    return url


def _file(name: str, text: str) -> Path | None:
    if not text:
        return None
    path = Path(text)
    if not path.is_file():
        raise EnvironmentFault(f"OTEL_EXPORTER_OTLP_{name}: there is no file {text}")
    return path
