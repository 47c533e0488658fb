"""A log line keeps the place in a trace that it was written at, whichever way it takes."""

import pytest
from loguru import logger
from opentelemetry.proto.logs.v1.logs_pb2 import ScopeLogs

from proxyserver.telemetry.logs import SPAN, TRACE
from proxyserver.telemetry.otlp._lines import encoded_line
from tests.rig.collector import plain


@pytest.mark.parametrize("queued", [False, True])
def test_ids_survive_a_queue(queued: bool) -> None:
    """They are part of the line, so that a handler in another thread has them too."""
    came: list[bytes] = []
    handler = logger.add(lambda message: came.append(encoded_line(message.record)), enqueue=queued)
    try:
        logger.bind(**{TRACE: "0a" * 16, SPAN: "0b" * 8}, service="chat", run=3).warning("it hangs")
        logger.complete()
    finally:
        logger.remove(handler)
    [line] = ScopeLogs.FromString(b"".join(came)).log_records
    assert (line.trace_id.hex(), line.span_id.hex()) == ("0a" * 16, "0b" * 8)
    assert (line.body.string_value, line.severity_text) == ("it hangs", "WARNING")
    told = plain(line.attributes)
    assert (told["aiproxy.service"], told["aiproxy.run"]) == ("chat", 3)
    assert not {key for key in told if "trace" in key or "span" in key}
