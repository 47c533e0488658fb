"""Bodies that say their model late wait on disk, within limits, and leave nothing there."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import openai
import pytest
import trio

from .rig import PATIENCE_S, PROMPT_S, Rig, Server, Wire, answer, chunk, raw, running

MEMORY = 100_000
LARGE = 700_000
"""Of a body that is seven times what is held in memory."""
FORM = "multipart/form-data; boundary=b"


def limits(folder: Path, *, most: int = 2_000_000, total: int = 8_000_000) -> Server:
    return Server(MEMORY, spill_max=most, spill_total=total, spill_dir=folder)


def form(model: str, size: int = LARGE, rest: int = 0) -> bytes:
    """Return a form with its file first, and perhaps another one after its model."""
    disposition = b"--b\r\nContent-Disposition: form-data; name="
    return (
        disposition + b'"file"; filename="a"\r\n\r\n' + bytes(range(256)) * (size // 256) + b"\r\n"
        + disposition + b'"model"\r\n\r\n' + model.encode() + b"\r\n"
        + disposition + b'"more"; filename="b"\r\n\r\n' + b"y" * rest + b"\r\n--b--\r\n"
    )  # fmt: skip


def late_json(model: str, size: int = LARGE, rest: int = 0) -> bytes:
    return json.dumps({"input": "x" * size, "model": model, "more": "y" * rest}).encode()


BODIES = {"application/json": late_json, FORM: form}


async def echo(wire: Wire) -> None:
    """Answer with the bodies of the requests."""
    while await wire.more():
        head = await wire.head()
        fields = dict(
            line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line
        )
        body = b""
        if b"transfer-encoding" in fields:
            while size := int((await wire.until(b"\r\n"))[:-2], 16):
                body += await wire.exactly(size)
                await wire.until(b"\r\n")
            await wire.until(b"\r\n")
        else:
            body = await wire.exactly(int(fields[b"content-length"]))
        await wire.send(answer(body))


async def send(wire: Wire, body: bytes, kind: str, *, chunked: bool = False) -> None:
    """Send a body; whoever does not read all of it may close."""
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = f"POST /v1/embeddings HTTP/1.1\nHost: localhost\nContent-Type: {kind}\n{framing}"
    await wire.send(raw(head))
    try:
        for at in range(0, len(body), 70_001):
            piece = body[at : at + 70_001]
            await wire.send(chunk(piece) if chunked else piece)
        if chunked:
            await wire.send(b"0\r\n\r\n")
    except trio.BrokenResourceError:
        pass


async def ask(rig: Rig, body: bytes, kind: str, *, chunked: bool = False) -> tuple[int, bytes]:
    """Return status and body of the answer, which may come before all is sent."""
    wire = await rig.connect()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(send, wire, body, kind, chunked=chunked))
        head = await wire.head()
        length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
        told = await wire.exactly(int(length))
        nursery.cancel_scope.cancel()
    return int(head.split()[1]), told


def code(told: bytes) -> str:
    return str(json.loads(told)["error"]["code"])


def files(folder: Path) -> list[str]:
    """Return what of the folder is open, or lies in it."""
    targets = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            targets.append(str(descriptor.readlink()))
        except OSError:  # It was that of the listing.
            continue
    named = [str(path) for path in folder.iterdir()] if folder.is_dir() else []
    return [one for one in targets if one.startswith(str(folder))] + named


async def is_clean(rig: Rig, folder: Path) -> None:
    """Wait until nothing is held."""
    bodies = rig.app.handling.inference.bodies
    with trio.fail_after(PROMPT_S):
        while bodies.memory or bodies.disk or files(folder):  # noqa: ASYNC110
            await trio.sleep(0.001)


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("model", ["coder", "small"])
@pytest.mark.parametrize("rest", [0, 1_000_000], ids=["last", "in the middle"])
async def test_a_late_model_is_found(
    kind: str, chunked: bool, model: str, rest: int, tmp_path: Path
) -> None:
    """What was held goes before what streams; only the name is changed to what its server knows."""
    body = BODIES[kind](model, LARGE, rest)
    told = BODIES[kind]("tiny" if model == "small" else model, LARGE, rest)
    folder = tmp_path / "spill"
    async with running(echo, server=limits(folder)) as rig:
        status, got = await ask(rig, body, kind, chunked=chunked)
        await is_clean(rig, folder)
    assert (status, got) == (200, told)
    assert await trio.Path(folder).is_dir(), "it was on disk"


async def test_while_it_waits_it_is_on_disk(tmp_path: Path) -> None:
    """In a file without a name, which goes with its client."""
    async with running(echo, server=limits(tmp_path)) as rig:
        rig.conductor.hold = trio.Event()
        wire = await rig.connect()
        await send(wire, form("coder"), FORM)
        with trio.fail_after(PATIENCE_S):
            while not rig.conductor.waiting:  # noqa: ASYNC110
                await trio.sleep(0.001)
        bodies = rig.app.handling.inference.bodies
        assert bodies.memory < 2 * MEMORY
        assert bodies.disk == len(form("coder"))
        (file,) = files(tmp_path)
        assert file.endswith(" (deleted)")
        wire.close()
        await is_clean(rig, tmp_path)


async def test_the_sdk_sends_a_file(tmp_path: Path) -> None:
    """OpenAI's own client, in whatever order it writes its fields."""

    async def script(wire: Wire) -> None:
        await wire.until(b"--\r\n")
        await wire.send(answer(b'{"text": "well said"}', "Content-Type: application/json"))

    async with running(script, server=limits(tmp_path)) as rig:
        url = f"http://127.0.0.1:{rig.port}/v1"

        def talk() -> str:
            with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
                return client.audio.transcriptions.create(
                    model="coder", file=("speech.wav", b"\1" * LARGE)
                ).text

        assert await trio.to_thread.run_sync(talk) == "well said"


async def test_what_is_on_disk_can_be_sent_again(tmp_path: Path) -> None:
    """To a service that closed a kept connection just then: nobody notices."""
    served = []

    async def script(wire: Wire) -> None:
        await wire.head()
        first = await wire.exactly(len(form("coder")))
        served.append(first)
        await wire.send(answer(b"ok"))
        if len(served) == 1:
            await wire.head()  # It dies with the second request.

    async with running(script, server=limits(tmp_path)) as rig:
        for _ in range(2):
            assert await ask(rig, form("coder"), FORM) == (200, b"ok")
        assert len(rig.upstreams) == 2
    assert served == [form("coder")] * 2


async def test_there_is_a_limit_for_each(tmp_path: Path) -> None:
    """A body that has not said its model by then gets 413, with the setting's name."""
    async with running(echo, server=limits(tmp_path, most=LARGE)) as rig:
        status, told = await ask(rig, form("coder", 2 * LARGE), FORM)
        assert (status, code(told)) == (413, "request_too_large")
        assert b"server.spill_max" in told
        await is_clean(rig, tmp_path)


async def test_there_is_a_limit_for_all(tmp_path: Path) -> None:
    """Who comes when the disk's share is taken is asked to come again, and can then."""
    async with running(echo, server=limits(tmp_path, total=LARGE * 3 // 2)) as rig:
        rig.conductor.hold = trio.Event()
        first = await rig.connect()
        await send(first, form("coder"), FORM)
        with trio.fail_after(PATIENCE_S):
            while not rig.conductor.waiting:  # noqa: ASYNC110
                await trio.sleep(0.001)
        status, told = await ask(rig, form("coder"), FORM)
        assert (status, code(told)) == (503, "server_busy")
        rig.conductor.hold.set()
        assert b" 200 " in await first.head()
        assert (await ask(rig, form("coder"), FORM))[0] == 200


async def test_bodies_in_memory_have_one_limit_together(tmp_path: Path) -> None:
    """However many wait, the memory does not grow: what is too much goes to disk."""
    body = json.dumps({"model": "coder", "input": "x" * 50_000}).encode()
    waiting = 40
    async with running(echo, server=limits(tmp_path)) as rig:
        rig.conductor.hold = trio.Event()
        wires = [await rig.connect() for _ in range(waiting)]
        for wire in wires:
            await send(wire, body, "application/json")
        with trio.fail_after(PATIENCE_S):
            while rig.conductor.waiting < waiting:  # noqa: ASYNC110
                await trio.sleep(0.001)
        bodies = rig.app.handling.inference.bodies
        assert bodies.memory <= bodies.memory_total == 4 * MEMORY
        assert bodies.memory + bodies.disk >= waiting * len(body)
        rig.conductor.hold.set()
        for wire in wires:
            assert b" 200 " in await wire.head()
            assert await wire.exactly(len(body)) == body
        await is_clean(rig, tmp_path)


@contextmanager
def smallest_files(size: int) -> Iterator[None]:
    """Let the kernel refuse larger files, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_disk_that_takes_no_more_is_told(tmp_path: Path) -> None:
    """As 507, with the folder and the cause; nothing is left, and the next one is served."""
    async with running(echo, server=limits(tmp_path)) as rig:
        with smallest_files(LARGE // 2):
            status, told = await ask(rig, form("coder"), FORM)
        assert (status, code(told)) == (507, "disk_full")
        assert f"{tmp_path}: File too large".encode() in told
        await is_clean(rig, tmp_path)
        assert (await ask(rig, form("coder"), FORM))[0] == 200


async def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    """Its name is in the answer."""
    await trio.Path(tmp_path / "file").write_text("")
    async with running(echo, server=limits(tmp_path / "file" / "folder")) as rig:
        status, told = await ask(rig, form("coder"), FORM)
        assert (status, code(told)) == (507, "disk_full")
        assert b"Not a directory" in told
        await is_clean(rig, tmp_path / "file" / "folder")


async def test_without_a_share_of_the_disk_all_stays_in_memory(tmp_path: Path) -> None:
    """A body above that is refused, and the disk is not touched."""
    async with running(echo, server=limits(tmp_path, most=0)) as rig:
        status, told = await ask(rig, form("coder"), FORM)
        assert (status, code(told)) == (413, "request_too_large")
        assert b"server.body_max" in told
    assert files(tmp_path) == []
