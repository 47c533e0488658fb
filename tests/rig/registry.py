"""A registry with one image, for tests of pulling: enough of the protocol for one engine.

It can want a password, lose a layer, or stop in the middle of one until it is told to go on.
"""

import base64
import contextlib
import gzip
import hashlib
import http.server
import io
import itertools
import json
import random
import tarfile
import threading
from collections.abc import Iterator

import attrs

IMAGE = "tiny:1"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
HOLD_S = 60.0
"""A hold that nobody ends does not outlast the tests."""


_SEEDS = itertools.count()


def noise(size: int) -> bytes:
    """Return bytes that compression does not make smaller, others each time: no engine has them."""
    return random.Random(next(_SEEDS)).randbytes(size)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _layer(payload: bytes) -> bytes:
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        file = tarfile.TarInfo("payload")
        file.size = len(payload)
        file.mode = 0o755
        tar.addfile(file, io.BytesIO(payload))
    return layer.getvalue()


def _image(payload: bytes) -> tuple[bytes, dict[str, bytes], str]:
    """Return a manifest, the blobs, and the digest of the layer, of an image with one file.

    That file is its program.
    """
    layer = _layer(payload)
    packed = gzip.compress(layer, mtime=0)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": ["/payload"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    ).encode()

    def described(media: str, data: bytes) -> dict[str, object]:
        kind = f"application/vnd.docker.{media}"
        return {"mediaType": kind, "size": len(data), "digest": _digest(data)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": described("container.image.v1+json", config),
        "layers": [described("image.rootfs.diff.tar.gzip", packed)],
    }
    blobs = {_digest(data): data for data in (config, packed)}
    return json.dumps(manifest).encode(), blobs, _digest(packed)


@attrs.define(eq=False)
class Registry:
    """A registry that serves `IMAGE`."""

    name: str
    """Host and port, as images are named by."""
    asked: list[str] = attrs.field(factory=list)
    """The paths that were asked for, in order."""
    go_on: threading.Event = attrs.field(factory=threading.Event)
    """A layer stops half-way until this is set."""

    @property
    def image(self) -> str:
        return f"{self.name}/{IMAGE}"

    @property
    def layers_sent(self) -> int:
        """How often somebody began to fetch the layer."""
        return sum(path == "layer" for path in self.asked)


@contextlib.contextmanager
def registry(
    payload: bytes, *, broken: bool = False, hold: bool = False, password: str | None = None
) -> Iterator[Registry]:
    """Serve `IMAGE` with this payload.

    Engines speak plain HTTP to registries on loopback.

    Args:
        payload: what is in its only file.
        broken: it knows the image but has lost its layer.
        hold: it stops in the middle of the layer, until `go_on` is set.
        password: what the user `me` must show.
    """
    manifest, blobs, layer = _image(payload)
    if broken:
        blobs.pop(layer)
    wanted = None
    if password is not None:
        wanted = "Basic " + base64.b64encode(f"me:{password}".encode()).decode()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            last = self.path.rpartition("/")[2]
            it.asked.append("layer" if last == layer else self.path)
            if wanted is not None and self.headers.get("Authorization") != wanted:
                self._refuse(401, "UNAUTHORIZED", "authentication required")
            elif self.path == "/v2/":
                self._answer(b"{}", "application/json")
            elif self.path == "/v2/tiny/manifests/1" or last == _digest(manifest):
                self._answer(manifest, _MANIFEST)
            elif last in blobs:
                self._answer(blobs[last], "application/octet-stream", hold and last == layer)
            elif "/manifests/" in self.path:
                self._refuse(404, "MANIFEST_UNKNOWN", "manifest unknown")
            else:
                self._refuse(404, "BLOB_UNKNOWN", "blob unknown to registry")

        do_HEAD = do_GET  # noqa: N815  the name is the library's

        def _refuse(self, status: int, code: str, message: str) -> None:
            body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="tests"')
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def _answer(self, body: bytes, kind: str, hold: bool = False) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Content-Digest", _digest(body))
            self.end_headers()
            if self.command != "GET":
                return
            # A client that has enough is no fault of ours.
            with contextlib.suppress(OSError):
                half = len(body) // 2 if hold else len(body)
                self.wfile.write(body[:half])
                if hold:
                    self.wfile.flush()
                    it.go_on.wait(HOLD_S)
                    self.wfile.write(body[half:])

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing: the test's output is for the test."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    it = Registry(f"127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield it
    finally:
        it.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()
