"""A registry with one image, for tests of pulling: enough of the protocol for one engine."""

import contextlib
import gzip
import hashlib
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Iterator

IMAGE = "tiny:1"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _image(payload: bytes) -> tuple[bytes, dict[str, bytes]]:
    """Return a manifest and the blobs of an image with one file in one layer."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        file = tarfile.TarInfo("payload")
        file.size = len(payload)
        tar.addfile(file, io.BytesIO(payload))
    packed = gzip.compress(layer.getvalue(), mtime=0)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer.getvalue())]},
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
    return json.dumps(manifest).encode(), {_digest(data): data for data in (config, packed)}


@contextlib.contextmanager
def registry(payload: bytes, *, broken: bool = False) -> Iterator[str]:
    """Serve `IMAGE` with this payload and yield the registry's name.

    Engines speak plain HTTP to registries on loopback.  A broken one knows the image but has
    lost its layer.
    """
    manifest, blobs = _image(payload)
    if broken:
        blobs.pop(max(blobs, key=lambda digest: len(blobs[digest])))

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            last = self.path.rpartition("/")[2]
            if self.path == "/v2/":
                self._answer(200, b"{}", "application/json")
            elif "/manifests/" in self.path:
                self._answer(200, manifest, _MANIFEST)
            elif last in blobs:
                self._answer(200, blobs[last], "application/octet-stream")
            else:
                self._answer(404, b"{}", "application/json")

        do_HEAD = do_GET  # noqa: N815  the name is the library's

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Content-Digest", _digest(body))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing: the test's output is for the test."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
