"""The main job: how soon a newcomer gets an answer, and what the proxy adds to starts and swaps."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import _readiness, _swap
from ._harness import ROOT, Figure
from ._subjects import Subject, subjects

READINESS_MS = 15.0
SWAP_MS = 30.0
DEMO_S = 900.0
"""Some 200 MB are fetched, on whatever line there is."""


def measure() -> Sequence[Figure]:
    """Return the figures of the main job."""
    with subjects() as found:
        return (*fresh_clone(), *readiness(found), *swap(found))


def readiness(found: Sequence[Subject]) -> Sequence[Figure]:
    """Measure what the proxy adds to the start of each kind of server."""
    print(f"\n{'readiness, ms':22}{'server':>9}{'proxy':>9}{'added':>9}{'worst':>9}{'ratio':>9}")
    medians = {}
    for subject in found:
        one = _readiness.measure(subject)
        medians[one.name] = one.added_ms
        ratio = 1 + one.added_ms / one.own_ms
        print(
            f"{one.name:22}{one.own_ms:9.1f}{one.own_ms + one.added_ms:9.1f}{one.added_ms:9.1f}"
            f"{one.worst_ms:9.1f}{ratio:9.3f}"
        )
    return _figures("readiness", medians, READINESS_MS)


def swap(found: Sequence[Subject]) -> Sequence[Figure]:
    """Measure what the proxy adds to a swap of each kind of server."""
    heads = ("stop", "start", "by hand", "proxy", "added", "ratio")
    print(f"\n{'swap, ms':22}" + "".join(f"{head:>9}" for head in heads))
    medians = {}
    for subject in found:
        one = _swap.measure(subject)
        medians[one.name] = one.added_ms
        print(
            f"{one.name:22}{one.stop_ms:9.1f}{one.start_ms:9.1f}{one.by_hand_ms:9.1f}"
            f"{one.by_proxy_ms:9.1f}{one.added_ms:9.1f}{one.by_proxy_ms / one.by_hand_ms:9.3f}"
        )
    return _figures("swap", medians, SWAP_MS)


def _figures(name: str, medians: Mapping[str, float], at_most: float) -> Sequence[Figure]:
    """Return the worst median, which the promise is about, and each one."""
    worst = Figure(f"{name}_added_ms", max(medians.values()), at_most)
    return (
        worst,
        *(Figure(f"{name}_{subject}_added_ms", value) for subject, value in medians.items()),
    )


def fresh_clone() -> Sequence[Figure]:
    """Time the README's first command in a new clone with empty caches.

    What is committed is measured, as a newcomer gets it; the fetch over the network is part of it.
    """
    with tempfile.TemporaryDirectory(prefix="aiproxy-clone-") as folder:
        clone = Path(folder, "clone")
        subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, clone], check=True)
        caches = {
            name: str(Path(folder, name.lower()))
            for name in ("UV_CACHE_DIR", "PIP_CACHE_DIR", "XDG_CACHE_HOME", "XDG_STATE_HOME")
        }
        done = subprocess.run(
            [clone / "run", "demo", "--once", "--parts", "real", "--json"],
            env=os.environ | caches,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            timeout=DEMO_S,
            check=True,
        )
    figures = json.loads(done.stdout)
    return (
        Figure("fresh_clone_to_first_answer_s", figures["command_to_first_token_s"]),
        Figure("demo_swap_to_first_token_s", figures["swap_first_token_s"]),
    )
