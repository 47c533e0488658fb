"""What is said and done on machines without a driver, and with one."""

import json
import subprocess
import sys

import pytest

from tests.rig.fake_gpus import GIB, FakeGpus

SCRIPT = """
import json, sys, trio
from proxyserver.gauges import GaugeFault
from proxyserver.gauges.gpus import find_gpus, gpu_gauge

async def whose(pids):
    return {}

async def main():
    said = []
    try:
        said.append(find_gpus())
    except GaugeFault as fault:
        said.append(str(fault))
    try:
        said.append([found.total for found in await gpu_gauge(["gpu0"], whose).measure()])
    except GaugeFault as fault:
        said.append(str(fault))
    print(json.dumps([*said, "pynvml" in sys.modules]))

"""
NO_LIBRARY = """
import ctypes

def missing(name):
    raise OSError(name)

ctypes.CDLL = missing  # as where no driver was ever installed
"""
pytestmark = pytest.mark.slow  # Each is a Python of its own, which has not loaded any library.


def said(script: str, **environment: str) -> object:
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


def test_no_driver() -> None:
    """That is said, and costs nothing: the library's Python side is not even imported."""
    expected = [
        "no driver of NVIDIA or AMD",
        "no driver of NVIDIA or AMD: declared claims only",
        False,
    ]
    assert said(f"{SCRIPT}{NO_LIBRARY}trio.run(main)") == expected


def test_a_driver_that_is_not_loaded(fake_gpus: FakeGpus) -> None:
    """A library without its driver is another thing, with another remedy."""
    why = "the NVIDIA driver is not loaded (`dmesg` tells more)"
    expected = [why, f"{why}: declared claims only", True]
    assert said(f"{SCRIPT}trio.run(main)", **fake_gpus.environment()) == expected


def test_a_driver(fake_gpus: FakeGpus) -> None:
    """The linker's usual way leads to it."""
    fake_gpus.plug(8 * GIB)
    found = said(f"{SCRIPT}trio.run(main)", **fake_gpus.environment())
    assert found == [{"gpu0": 8 * GIB}, [8 * GIB], True]
