"""Places to listen at: several at once, and UNIX sockets with their modes, leftovers and ends."""

import socket
from functools import partial
from pathlib import Path

import pytest
import trio

from proxyserver.certificates import Certificate
from proxyserver.http import ListenError, Place, TcpPlace, UnixPlace, serve
from tests.rig.certificates import certificate_files, client_context

from .rig import Rig, Wire, running

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


def soon() -> float:
    """Tell how long answers may take to end."""
    return 1.0


async def refused(rig: Rig, place: Place) -> str:
    """Return why one cannot listen there."""
    with pytest.raises(ListenError) as error:
        await serve(rig.app, [place], stop=trio.Event(), drain_s=soon)
    return str(error.value)


async def test_several_places_are_served_at_once(tmp_path: Path) -> None:
    """Plain HTTP, TLS and a UNIX socket, each with its URL; all end together."""
    path = tmp_path / "it.sock"
    places: list[Place] = [
        TcpPlace("127.0.0.1", 0),
        TcpPlace("127.0.0.1", 0, Certificate(*certificate_files())),
        UnixPlace(path),
    ]
    async with running() as rig, trio.open_nursery() as nursery:
        stop = trio.Event()
        urls = await nursery.start(partial(serve, rig.app, places, stop=stop, drain_s=soon))
        assert [url.partition(":")[0] for url in urls] == ["http", "https", "unix"]
        ports = [int(url.rpartition(":")[2]) for url in urls[:2]]
        secure = trio.SSLStream(
            await trio.open_tcp_stream("127.0.0.1", ports[1]),
            client_context(),
            server_hostname="localhost",
        )
        wires = [
            Wire(await trio.open_tcp_stream("127.0.0.1", ports[0])),
            Wire(secure),
            Wire(await trio.open_unix_socket(path)),
        ]
        for wire in wires:
            await wire.send(HEALTH)
            assert (await wire.head()).startswith(b"HTTP/1.1 200 ")
        stop.set()
        for wire in wires:
            await wire.wait_closed()
            wire.close()
    assert not path.exists()


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
async def test_a_socket_has_its_mode(tmp_path: Path, mode: int) -> None:
    """Whatever the umask is."""
    path = tmp_path / "it.sock"
    async with running() as rig, trio.open_nursery() as nursery:
        stop = trio.Event()
        place = UnixPlace(path, mode)
        await nursery.start(partial(serve, rig.app, [place], stop=stop, drain_s=soon))
        assert path.lstat().st_mode & 0o777 == mode
        stop.set()


async def test_the_socket_of_a_dead_daemon_is_replaced(tmp_path: Path) -> None:
    """Nobody listens behind it any more."""
    path = tmp_path / "it.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with running() as rig, trio.open_nursery() as nursery:
        stop = trio.Event()
        await nursery.start(partial(serve, rig.app, [UnixPlace(path)], stop=stop, drain_s=soon))
        wire = Wire(await trio.open_unix_socket(path))
        await wire.send(HEALTH)
        await wire.until(b"HTTP/1.1 200 ")
        wire.close()
        stop.set()


async def test_what_is_in_the_way_stays(tmp_path: Path) -> None:
    """A living daemon's socket, and what is no socket; paths that cannot be are told."""
    living, file = tmp_path / "living", tmp_path / "file"
    file.write_text("mine")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(living))
        sock.listen()
        async with running() as rig:
            assert "another process listens on" in await refused(rig, UnixPlace(living))
            assert "and no socket" in await refused(rig, UnixPlace(file))
            assert "No such file" in await refused(rig, UnixPlace(tmp_path / "none" / "it"))
            assert "at most 107 bytes" in await refused(rig, UnixPlace(tmp_path / ("x" * 108)))
    assert file.read_text() == "mine"
    assert living.is_socket()


async def test_a_socket_of_another_is_not_removed(tmp_path: Path) -> None:
    """Whoever took the place meanwhile keeps it."""
    path = tmp_path / "it.sock"
    async with running() as rig, trio.open_nursery() as nursery:
        stop = trio.Event()
        await nursery.start(partial(serve, rig.app, [UnixPlace(path)], stop=stop, drain_s=soon))
        path.rename(tmp_path / "moved")
        path.write_text("mine")
        stop.set()
    assert path.read_text() == "mine"


async def test_no_place_is_kept_when_one_cannot_be_had(tmp_path: Path) -> None:
    """The others are given back."""
    path = tmp_path / "it.sock"
    async with running() as rig:
        places: list[Place] = [UnixPlace(path), TcpPlace("127.0.0.1", rig.port)]
        with pytest.raises(ListenError):
            await serve(rig.app, places, stop=trio.Event(), drain_s=soon)
    assert not path.exists()
