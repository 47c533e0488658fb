"""Log lines: one event is one line, for people or for programs, and no secret in it."""

import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from loguru import logger

from proxycore import (
    Changed,
    Explained,
    Fact,
    Placement,
    Reason,
    Refuse,
    RunId,
    ServiceId,
    State,
    TicketId,
    Valued,
    Waiting,
    Want,
)
from proxyserver.http._exchange import Outcome, RequestRecord
from proxyserver.telemetry import configure_logs, log_fact, log_request, logs
from proxyserver.telemetry._log_file import LogFile
from proxyserver.telemetry.logs import LogFormat
from proxyserver.wire import Usage

A, B = ServiceId("a"), ServiceId("b")
TICKET, RUN = TicketId(1), RunId(3)


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Text lines at every level."""
    stream = io.StringIO()
    handlers, level = logging.root.handlers[:], logging.root.level
    configure_logs("DEBUG", "text", stream)
    yield stream
    logger.remove()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


FACTS: list[tuple[Fact, str]] = [
    (
        Changed(A, RUN, State.STARTING, State.READY, "answers"),
        "INFO    a#3  starting -> ready: answers",
    ),
    (Changed(A, RUN, State.STARTING, State.FAILED, "x"), "ERROR   a#3  starting -> failed: x"),
    (
        Waiting(TICKET, A, 2, "full", State.READY),
        "DEBUG   a  a request waits, number 2 in line: full",
    ),
    (Refuse(TICKET, A, Reason.QUEUE_FULL, "no"), "DEBUG   a  refused (queue_full): no"),
    (
        Explained(A, Placement(), (Valued(B, RUN, 1.5),), (), Want(Placement(), (), (), 0.0)),
        "INFO    a  room is made by stopping b#3 (worth 1.5)",
    ),
]


@pytest.mark.parametrize(("fact", "line"), FACTS)
def test_facts(written: io.StringIO, fact: Fact, line: str) -> None:
    """Each says which service, which run, what and why."""
    log_fact(fact, 20.5)
    assert written.getvalue()[13:] == line + "\n"


def record(
    outcome: Outcome, status: int | None, error: BaseException | None = None
) -> RequestRecord:
    return RequestRecord(
        request_id="r-1",
        method="POST",
        path="/v1/chat/completions",
        service=A,
        run=RUN,
        status=status,
        waited_s=0.25,
        first_byte_s=0.5,
        duration_s=1.0,
        bytes_in=10,
        bytes_out=20,
        outcome=outcome,
        error=error,
    )


def test_request(written: io.StringIO) -> None:
    """The request's id, service and run lead the line."""
    log_request(record(Outcome.ANSWERED, 200))
    assert written.getvalue()[13:] == (
        "INFO    a#3 [r-1]  POST /v1/chat/completions 200 in 1.000 s, waited 0.250 s, "
        "first byte after 0.500 s, 10 bytes in, 20 out\n"
    )


def test_a_request_with_tokens(written: io.StringIO) -> None:
    """What the service counted is told, what we counted is told as such, and all is in JSON."""
    whole = record(Outcome.ANSWERED, 200)
    whole.usage = Usage(12, 34, 10, 0.1, 2.0, "m", "stop")
    log_request(whole)
    whole.usage = Usage(output=34, counted=True)
    log_request(whole)
    assert logs._Plain.present is not None
    logs._Plain.present.flush()
    lines = written.getvalue().splitlines()
    assert lines[0].endswith(" 10 bytes in, 20 out, 12 tokens read, 34 tokens written")
    assert lines[1].endswith(" 10 bytes in, 20 out, about 34 tokens written")
    configure_logs("INFO", "json", written)
    whole.usage = Usage(12, 34, 10, 0.1, 2.0, "m", "stop")
    log_request(whole)
    told = json.loads(written.getvalue().splitlines()[-1])
    assert [told[key] for key in ("model", "tokens_in", "tokens_cached", "tokens_out")] == [
        *("m", 12, 10, 34)
    ]
    assert [told[key] for key in ("tokens_counted", "prompt_s", "output_s", "finish")] == [
        *(False, 0.1, 2.0, "stop")
    ]


@pytest.mark.parametrize("form", ["text", "json"])
def test_requests_look_like_all_other_lines(written: io.StringIO, form: LogFormat) -> None:
    """They take a shorter way: loguru's would make the same of them."""
    configure_logs("INFO", form, written)
    log_request(record(Outcome.BROKEN, 200, OSError("x\r\n\x1b {y} <red>")))
    shorter = written.getvalue()
    logs._Plain.present = None
    log_request(record(Outcome.BROKEN, 200, OSError("x\r\n\x1b {y} <red>")))
    longer = written.getvalue()[len(shorter) :]
    if form == "json":
        assert {**json.loads(shorter), "time": ""} == {**json.loads(longer), "time": ""}
        assert list(json.loads(shorter)) == list(json.loads(longer))
        assert len(json.loads(shorter)["time"]) == len(json.loads(longer)["time"])
    else:
        assert re.sub(r"\d", "9", shorter[:12]) == re.sub(r"\d", "9", longer[:12])
        assert shorter[12:] == longer[12:]


def test_a_level_holds_for_requests_too(written: io.StringIO) -> None:
    """Successes are of no interest to who asks for warnings."""
    configure_logs("WARNING", "text", written)
    log_request(record(Outcome.ANSWERED, 200))
    assert written.getvalue() == ""


def test_broken_request_is_a_warning(written: io.StringIO) -> None:
    """A 200 that broke off is no success."""
    log_request(record(Outcome.BROKEN, 200, OSError("the service died")))
    assert "WARNING a#3" in written.getvalue()
    assert written.getvalue().endswith("; broken: the service died\n")


def test_json_lines(written: io.StringIO) -> None:
    """One object a line, with every number as a number."""
    configure_logs("INFO", "json", written)
    log_request(record(Outcome.ANSWERED, 200))
    log_fact(FACTS[0][0], 20.5)
    first, second = (json.loads(line) for line in written.getvalue().splitlines())
    assert (first["request"], first["run"], first["waited_s"]) == ("r-1", 3, 0.25)
    assert (second["service"], second["at"], second["level"]) == ("a", 20.5, "INFO")


def test_nobody_forges_a_line(written: io.StringIO) -> None:
    """What clients choose can neither end a line nor move the cursor, nor be taken for a format."""
    logger.bind(service="a\nb").info("x\r\n\x1b[2J {nobody} <red>")
    assert written.getvalue()[13:] == "INFO    a\\nb  x\\r\\n\\x1b[2J {nobody} <red>\n"


def test_tracebacks_show_no_values(written: io.StringIO) -> None:
    """A bug is told with its place, without what the variables held."""

    def fail(key: str) -> None:
        raise ValueError(f"a key of {len(key)} letters")

    try:
        fail("-".join(("sk", "very", "secret")))
    except ValueError as bug:
        log_request(record(Outcome.BUG, 500, bug))
    assert "in fail" in written.getvalue()
    assert "sk-very-secret" not in written.getvalue()


def test_other_libraries_log_the_same_way(written: io.StringIO) -> None:
    """Under their own names; chatter below WARNING is left out."""
    logging.getLogger("hypercorn.error").error("it broke")
    logging.getLogger("httpx").info("GET ...")
    assert written.getvalue()[13:] == "ERROR   hypercorn.error  it broke\n"


def files(folder: Path) -> dict[str, str]:
    """Return what the files of a folder say, the oldest first."""
    return {path.name: path.read_text() for path in sorted(folder.iterdir(), reverse=True)}


def test_a_file_gets_all_lines(written: io.StringIO, tmp_path: Path) -> None:
    """Those of requests too, as they are on the stream, from the level in force."""
    file = LogFile(tmp_path / "new" / "{proxy}.log", 1 << 20, 1)
    for form in get_args(LogFormat):
        configure_logs("INFO", form, written, file)
        log_request(record(Outcome.ANSWERED, 200))
        logger.debug("nobody wants that")
        logger.bind(service="a").info("{} ends", "a")
    assert files(tmp_path / "new") == {"{proxy}.log": written.getvalue()}
    configure_logs("INFO", "text", written)
    log_request(record(Outcome.ANSWERED, 200))
    assert written.getvalue().startswith(files(tmp_path / "new")["{proxy}.log"])
    assert len(written.getvalue()) > len(files(tmp_path / "new")["{proxy}.log"])


def test_files_are_bounded_in_size_and_number(written: io.StringIO, tmp_path: Path) -> None:
    """Full ones are renamed, the oldest go; what does not belong to them stays."""
    (tmp_path / "other.log").write_text("mine")
    configure_logs("INFO", "text", written, LogFile(tmp_path / "proxy.log", 1000, 2))
    for number in range(200):
        logger.info("line {}", number)
    found = files(tmp_path)
    assert found.pop("other.log") == "mine"
    assert len(found) == 3
    assert all(0 < len(text) <= 1000 for text in found.values())
    assert "".join(found.values()) == written.getvalue()[-len("".join(found.values())) :]
    assert "line 199" in found["proxy.log"]


def test_a_file_that_is_taken_away_comes_again(written: io.StringIO, tmp_path: Path) -> None:
    """As logrotate does it, or somebody by hand."""
    configure_logs("INFO", "text", written, LogFile(tmp_path / "proxy.log", 1 << 20, 2))
    logger.info("one")
    (tmp_path / "proxy.log").rename(tmp_path / "away")
    logger.info("two")
    assert [(name, text[13:]) for name, text in files(tmp_path).items()] == [
        ("proxy.log", "INFO    aiproxy  two\n"),
        ("away", "INFO    aiproxy  one\n"),
    ]


def test_a_full_disk_is_told_once(written: io.StringIO, tmp_path: Path) -> None:
    """Lines are lost, the stream has them, and when there is room they are written again."""
    path = tmp_path / "proxy.log"
    path.symlink_to("/dev/full")
    file = LogFile(path, 1000, 2)
    for number in range(4):
        if number % 2 == 0:  # Which closes the one before.
            configure_logs("INFO", "text", written, file)
        logger.info("line {}", number)
    path.unlink()
    logger.info("line 4")
    fault = f"ERROR   aiproxy  no log lines go to {path}: [Errno 28] No space left on device"
    lines = [f"INFO    aiproxy  line {number}" for number in range(5)]
    # The stream comes first.
    assert [line[13:] for line in written.getvalue().splitlines()] == [
        *(lines[0], fault, lines[1]),
        *(lines[2], fault, *lines[3:]),
    ]
    assert path.read_text()[13:] == f"{lines[4]}\n"


def test_a_file_that_cannot_be_is_told(written: io.StringIO, tmp_path: Path) -> None:
    """The stream goes on, and says so."""
    (tmp_path / "file").touch()
    configure_logs("INFO", "text", written, LogFile(tmp_path / "file" / "x.log", 1000, 1))
    log_request(record(Outcome.ANSWERED, 200))
    assert logs._Plain.present is not None
    logs._Plain.present.flush()
    first, second = written.getvalue().splitlines()
    assert first[13:].startswith(f"ERROR   aiproxy  no log lines go to {tmp_path}/file/x.log: ")
    assert "200" in second


def test_who_listens_follows_the_level(written: io.StringIO) -> None:
    """As the stream does, whenever it is configured again; and from any thread's queue alike."""
    told: list[str] = []
    with logs.every_line(lambda message: told.append(message.record["message"])):
        logger.debug("one")
        configure_logs("WARNING", "text", written)
        logger.info("two")
        logger.warning("three")
        configure_logs("INFO", "json", written)
        logger.info("four")
        log_request(record(Outcome.ANSWERED, 200))
    logger.info("five")
    assert told[:3] == ["one", "three", "four"]
    assert len(told) == 4
