"""An inference server that only holds memory of a real NVIDIA GPU, by CUDA's driver alone.

Run as a program, told by its environment: HOST and PORT, VRAM_MIB (held from the start), GROW_MIB
(more, from the first answer on), TERM_MS (how long it takes to obey).
What does not fit ends it with the line that ggml writes.
"""

import ctypes
import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType

MIB = 1 << 20
OUT_OF_MEMORY = 2


def setting(name: str, default: int = 0) -> int:
    return int(os.environ.get(name, default))


class Gpu:
    """The first GPU that this process may see."""

    def __init__(self) -> None:
        self._cuda = ctypes.CDLL("libcuda.so.1")
        self._device, context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(self._device), 0)
        # What a context takes by itself is counted too, as it is with any server.
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
        self._context = context

    def hold(self, mib: int) -> None:
        """Hold so much more for as long as this process lives."""
        self._call("cuCtxSetCurrent", self._context)
        place = ctypes.c_uint64()
        code = self._cuda.cuMemAlloc_v2(ctypes.byref(place), ctypes.c_size_t(mib * MIB))
        if code == OUT_OF_MEMORY:
            print(f"allocating {mib}.00 MiB on device 0: cudaMalloc failed: out of memory")
            os._exit(1)
        self._check("cuMemAlloc_v2", code)

    def _call(self, name: str, *arguments: object) -> None:
        self._check(name, getattr(self._cuda, name)(*arguments))

    def _check(self, name: str, code: int) -> None:
        if code != 0:
            print(f"{name} failed: CUDA error {code}")
            os._exit(1)


class Answers(BaseHTTPRequestHandler):
    """Answers everything alike; the first question may make it grow."""

    protocol_version = "HTTP/1.1"
    grows = True
    gpu: Gpu

    def do_GET(self) -> None:
        self._answer({"status": "ok"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if Answers.grows and setting("GROW_MIB"):
            Answers.grows = False
            self.gpu.hold(setting("GROW_MIB"))
        self._answer({"choices": [], "visible": os.environ.get("CUDA_VISIBLE_DEVICES")})

    def _answer(self, said: object) -> None:
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def obey(_: int, __: FrameType | None) -> None:
    time.sleep(setting("TERM_MS") / 1e3)
    os._exit(0)


def main() -> None:
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    signal.signal(signal.SIGTERM, obey)
    Answers.gpu = Gpu()
    if mib := setting("VRAM_MIB"):
        Answers.gpu.hold(mib)
    ThreadingHTTPServer((os.environ["HOST"], setting("PORT")), Answers).serve_forever()


if __name__ == "__main__":
    main()
