"""TLS towards clients: handshakes that fail, never end or are none; certificates that change."""

import datetime
import functools
import ssl
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trustme
from cryptography.hazmat.primitives import serialization
from websockets.sync.client import connect, unix_connect
from websockets.sync.server import ServerConnection, serve

from proxyserver.certificates import Certificate, CertificateError
from proxyserver.http import UpstreamConnections
from proxyserver.http._client_side import HANDSHAKE_S
from proxyserver.runtime import Endpoint
from tests.rig.certificates import authority, client_context, write_certificate

from .rig import GET, LANE, PATIENCE_S, Rig, Wire, answer, answering, running


@pytest.fixture(autouse=True)
def over_tls() -> None:
    LANE.set("tls")


async def plain(rig: Rig, data: bytes) -> Wire:
    """Return a connection without TLS, on which this was sent."""
    wire = Wire(await trio.open_tcp_stream("127.0.0.1", rig.port))
    rig.clients.append(wire)
    await wire.send(data)
    return wire


async def test_plain_http_is_told_where_it_came() -> None:
    """In words, by plain HTTP, and nothing else is done."""
    async with running() as rig:
        wire = await plain(rig, GET)
        head, body = await wire.head(), await wire.rest()
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"https://" in body
        assert rig.records == []


@pytest.mark.parametrize(
    "garbage",
    [bytes(100), b"\x16\x03\x01\xff\xff" + bytes(500), b"\xff" * 300_000],
    ids=["zeros", "a record of zeros", "much"],
)
async def test_garbage_in_place_of_a_handshake_ends_the_connection(garbage: bytes) -> None:
    """At once; whoever comes next is served."""
    async with running(answering(answer(b"served"))) as rig:
        wire = await plain(rig, b"")
        with suppress(trio.BrokenResourceError):  # It was enough before it was all.
            await wire.send(garbage)
        await wire.wait_closed(PATIENCE_S)
        good = await rig.ask(GET)
        await good.until(b"served")


@pytest.mark.parametrize("begun", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"])
async def test_a_handshake_that_never_ends_is_ended(begun: bytes, autojump_clock: object) -> None:
    """However far it has come."""
    async with running() as rig:
        wire = Wire(await trio.open_tcp_stream("127.0.0.1", rig.port))
        rig.clients.append(wire)
        if begun:
            await wire.stream.send_all(begun)
        began_at = trio.current_time()
        with trio.fail_after(HANDSHAKE_S * 2):
            assert await wire.stream.receive_some(100) == b""
        assert HANDSHAKE_S <= trio.current_time() - began_at <= HANDSHAKE_S + 3


async def test_old_versions_of_tls_are_refused() -> None:
    """1.2 is the oldest (RFC 8996), and speaks."""
    async with running(answering(answer(b"served"))) as rig:
        for version, works in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)):
            context = client_context.__wrapped__()
            context.set_ciphers("ALL:@SECLEVEL=0")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = context.maximum_version = version
            stream = trio.SSLStream(
                await trio.open_tcp_stream("127.0.0.1", rig.port),
                context,
                server_hostname="localhost",
            )
            wire = Wire(stream)
            rig.clients.append(wire)
            if works:
                await wire.send(GET)
                await wire.until(b"served")
            else:
                with pytest.raises(trio.BrokenResourceError):
                    await stream.do_handshake()


async def test_a_client_that_ends_tls_alone_is_gone() -> None:
    """A `close_notify` without the end of TCP ends the connection, too."""
    async with running(answering(answer(b"served"))) as rig:
        wire = await rig.ask(GET)
        await wire.until(b"served")
        assert isinstance(wire.stream, trio.SSLStream)
        with trio.fail_after(PATIENCE_S):
            below, _ = await wire.stream.unwrap()
        rig.clients.clear()
        await below.aclose()


async def test_a_renewed_certificate_is_used(tmp_path: Path) -> None:
    """By the next connection; one that is wrong leaves the old one in use, until it is right."""
    files = write_certificate(tmp_path, authority().issue_cert("localhost"))
    certificate = Certificate(*files)
    first = certificate.context()
    assert certificate.context() is first
    files[0].write_bytes(authority().issue_cert("localhost").cert_chain_pems[0].bytes())
    assert certificate.context() is first, "the key is still the old one"
    write_certificate(tmp_path, authority().issue_cert("localhost"))
    second = certificate.context()
    assert second is not first
    files[1].unlink()
    assert certificate.context() is second


def echo(socket: ServerConnection) -> None:
    for message in socket:
        socket.send(message)


@pytest.mark.parametrize("lane", ["fast", "tls", "unix"])
async def test_the_package_websockets_is_content(lane: str) -> None:
    """Texts, bytes of three megabytes, a ping and the closing handshake, over ws:// and wss://."""
    LANE.set(lane)

    def talk(open_: Callable[[], object]) -> list[object]:
        with open_() as socket:  # type: ignore[attr-defined]
            got: list[object] = []
            for message in ("hello", bytes(3_000_000), "bye"):
                socket.send(message)
                got.append(socket.recv(timeout=PATIENCE_S))
            assert socket.ping().wait(PATIENCE_S)
        return [*got, socket.close_code]

    with serve(echo, "127.0.0.1", 0, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            async with running() as rig:
                port = server.socket.getsockname()[1]
                rig.conductor.connections["coder"] = UpstreamConnections(
                    Endpoint("127.0.0.1", port)
                )
                uri = f"ws://localhost:{rig.port}/service/coder/ws"
                open_: Callable[[], object]
                if lane == "unix":
                    open_ = functools.partial(
                        unix_connect, str(rig.socket), uri.replace(":0", ""), max_size=None
                    )
                elif lane == "tls":
                    open_ = functools.partial(
                        connect,
                        uri.replace("ws:", "wss:"),
                        ssl=client_context("http/1.1"),
                        max_size=None,
                    )
                else:
                    open_ = functools.partial(connect, uri, max_size=None)
                said = await trio.to_thread.run_sync(talk, open_)
        finally:
            server.shutdown()
            thread.join()
    assert said == ["hello", bytes(3_000_000), "bye", 1000]


def test_files_that_are_wrong_are_told(tmp_path: Path) -> None:
    """Each with what is wrong, and whether it is the key."""
    cert, key = write_certificate(tmp_path, authority().issue_cert("localhost"))
    other = tmp_path / "other"
    other.mkdir()
    _, other_key = write_certificate(other, authority().issue_cert("localhost"))
    foreign = tmp_path / "foreign.pem"
    foreign.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for given, said, of_key in (
        ((cert, other_key), "is not the key of", True),
        ((cert, cert), "has no private key", True),
        ((key, key), "has no certificate", False),
        ((foreign, key), "with the key", False),
        ((tmp_path, key), "cannot be read", False),
        ((cert, tmp_path / "none"), "cannot be read: No such file", True),
    ):
        with pytest.raises(CertificateError, match=said) as wrong:
            Certificate(*given)
        assert wrong.value.of_key is of_key
    both = tmp_path / "both.pem"
    both.write_bytes(cert.read_bytes() + key.read_bytes())
    Certificate(both)


def test_a_certificate_out_of_its_time_is_told(tmp_path: Path) -> None:
    """Every client would refuse it."""
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    for begins, ends, said in (
        (now - 3 * day, now - day, "has expired"),
        (now + day, now + 3 * day, "is not valid yet"),
    ):
        made = authority().issue_cert("localhost", not_before=begins, not_after=ends)
        with pytest.raises(CertificateError, match=said):
            Certificate(*write_certificate(tmp_path, made))


def test_a_key_with_a_password_is_told(tmp_path: Path) -> None:
    """Nobody is asked on the terminal of a daemon."""
    made = trustme.CA().issue_cert("localhost")
    cert, key = write_certificate(tmp_path, made)
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(CertificateError, match=r"needs a password, .*openssl pkey") as wrong:
        Certificate(cert, key)
    assert wrong.value.of_key
