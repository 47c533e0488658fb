"""What all tests share: the rig's fixtures, Hypothesis profiles, and what this machine lacks."""

import os
import signal
from typing import Any

import hypothesis
import pytest

pytest.register_assert_rewrite("proxyserver.contract")
pytest_plugins = ["tests.rig.fixtures"]

# Time is not a promise of the code: a slow machine must not fail a property.
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") == "true" else "local")

BY_HAND = ("clients", "infinity", "vllm")
"""Servers and clients that are too large for CI: an option that names their environment has them
take part."""
# A shell that starts us in the background lets us ignore it, and so would what the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

REMEDIES = {
    "curl": "curl: sudo apt install curl",
    "promtool": "promtool: sudo apt install prometheus",
    "gpu": "an NVIDIA GPU with its driver: ./run test --gpu tests/daemon/test_real_gpu.py",
    **{
        name: f"{name} in a virtual environment: ./run test --{name} FOLDER (see CONTRIBUTING.md)"
        for name in BY_HAND
    },
    "engine": "a container engine of their own, so root: sudo ./run test",
    "mock_binary": "a C compiler for the scripted server: sudo apt install gcc libc6-dev",
}
"""What may be left out, by the fixture that needs it."""
LEFT_OUT = pytest.StashKey[dict[str, int]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--without",
        action="append",
        default=[],
        choices=sorted(set(REMEDIES) - {"gpu", *BY_HAND}),
        help="leave out the tests that need this fixture, and say so at the end",
    )
    # What no machine can install: CI does without, everybody else too unless they ask for it.
    parser.addoption("--gpu", action="store_true", help="run the tests of a real NVIDIA GPU")
    for name in BY_HAND:
        text = f"run the tests of the real {name}, which is in this virtual environment"
        parser.addoption(f"--{name}", metavar="FOLDER", help=text)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what was asked for; without such an option, a test that lacks its parts fails.

    A test that finds its fixture only when it runs says so by a marker of the same name.
    """
    left_out = config.stash[LEFT_OUT] = dict.fromkeys(config.getoption("--without"), 0)
    left_out |= {name: 0 for name in ("gpu", *BY_HAND) if not config.getoption(name)}
    kept, dropped = [], []
    for item in items:
        wants = {*getattr(item, "fixturenames", ()), *(mark.name for mark in item.iter_markers())}
        need = next((need for need in left_out if need in wants), None)
        if need is None:
            kept.append(item)
        else:
            left_out[need] += 1
            dropped.append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=dropped)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of xdist tells what it left out: the closing lines are the controller's."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash.get(LEFT_OUT, {})


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """All workers collect, and leave out, the same."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", {})


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for need, count in config.stash.get(LEFT_OUT, {}).items():
        if count:
            terminalreporter.write_line(f"Not run: {count} tests, which need {REMEDIES[need]}")
