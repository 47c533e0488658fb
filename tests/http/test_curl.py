"""curl, which everybody tries first, is content."""

import json
import subprocess
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.rig.certificates import authority_file

from .rig import EVENTS, PATIENCE_S, Rig, Wire, answer, chunk, running

pytestmark = pytest.mark.curl

LARGE = 3 * 1024 * 1024
"""curl asks before it sends so much (`Expect: 100-continue`)."""


async def echo(wire: Wire) -> None:
    """Answer each request with its body; a path that ends in `/stream` with events."""
    while True:
        while b"\r\n\r\n" not in wire.buffer:
            if not await wire.more():
                return
        head = (await wire.head()).lower()
        length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        body = await wire.exactly(int(length or 0))
        if b"transfer-encoding: chunked" in head:
            while size := int(await wire.until(b"\r\n"), 16):
                body += await wire.exactly(size)
                await wire.until(b"\r\n")
            await wire.until(b"\r\n")
        if b"/stream " in head:
            events = b"".join(chunk(b"data: %d\n\n" % number) for number in range(3))
            await wire.send(EVENTS + events + b"0\r\n\r\n")
        else:
            await wire.stream.send_all(answer(body or b"nothing"))


async def curl(rig: Rig, *words: str, given: bytes = b"") -> bytes:
    """Run curl; return what it prints.  `{base}` is where we are, `{url}` where the service is."""
    base = rig.url.replace("127.0.0.1", "localhost")
    command = ["curl", "-sS", "--fail-with-body", "--max-time", str(int(PATIENCE_S))]
    command += ["--cacert", str(authority_file())]
    if rig.socket:
        command += ["--unix-socket", str(rig.socket)]
    url = f"{base}/service/coder"
    command += [word.replace("{url}", url).replace("{base}", base) for word in words]
    run = partial(trio.run_process, command, stdin=given, capture_stdout=True)
    done: subprocess.CompletedProcess[bytes] = await run()
    return done.stdout


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1"])
async def test_it_reads_answers(version: str) -> None:
    """In both versions, streamed or not; several over one connection."""
    async with running(echo) as rig:
        got = await curl(rig, version, "{url}/a", "{url}/stream", "{url}/b")
        assert got == b"nothingdata: 0\n\ndata: 1\n\ndata: 2\n\nnothing"


async def test_it_sends_bodies(tmp_path: Path) -> None:
    """Small, large with an `Expect`, of unknown length, and as a form."""
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * (LARGE // 256))
    async with running(echo) as rig:
        assert await curl(rig, "{url}/x", "-d", "small") == b"small"
        sent = await curl(rig, "{url}/x", "--data-binary", f"@{large}")
        assert sent == large.read_bytes()
        sent = await curl(rig, "{url}/x", "-T", "-", given=b"piped " * 100_000)
        assert sent == b"piped " * 100_000
        sent = await curl(rig, "{url}/x", "-F", "model=coder", "-F", f"file=@{large}")
        assert large.read_bytes() in sent


async def test_it_speaks_with_a_model() -> None:
    """As the README says it."""
    question = json.dumps({"model": "coder", "messages": []})
    async with running(echo) as rig:
        got = await curl(rig, "{base}/v1/chat/completions", "--json", question)
        assert json.loads(got)["model"] == "coder"
        models = json.loads(await curl(rig, "{base}/v1/models"))
    assert models["data"][0]["id"] == "coder"


@pytest.mark.lane("fast", "tls")
@pytest.mark.parametrize(
    ("option", "plain", "secure"),
    [
        ("--http1.1", b"1.1", b"1.1"),
        ("--http2", b"1.1", b"2"),
        ("--http2-prior-knowledge", b"2", b"2"),
    ],
)
async def test_it_chooses_the_version(
    option: str, plain: bytes, secure: bytes, on_lane: str, tmp_path: Path
) -> None:
    """Over TLS by what both know; over plain TCP an upgrade to HTTP/2 is ignored."""
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * (LARGE // 256))
    async with running(echo) as rig:
        told = await curl(rig, option, "-w", "%{http_version}", "{url}/stream")
        sent = await curl(rig, option, "{url}/x", "--data-binary", f"@{large}")
    version = secure if on_lane == "tls" else plain
    assert told == b"data: 0\n\ndata: 1\n\ndata: 2\n\n" + version
    assert sent == large.read_bytes()


async def test_a_broken_stream_is_an_error_of_curl() -> None:
    """Exit code 18, a partial file, or 56, or 92, a reset of HTTP/2: it does not look whole."""

    async def breaks(wire: Wire) -> None:
        await wire.head()
        await wire.send(EVENTS + chunk(b"data: 0\n\n"))

    async with running(breaks) as rig:
        with pytest.raises(subprocess.CalledProcessError) as broken:
            await curl(rig, "{url}/stream")
    assert broken.value.returncode in (18, 56, 92)
    assert broken.value.stdout.startswith(b"data: 0\n\n")
