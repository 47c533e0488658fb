"""The main job: how soon a newcomer gets an answer."""

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ._harness import ROOT, Figure

DEMO_S = 900.0
"""Some 200 MB are fetched, on whatever line there is."""


def measure() -> Sequence[Figure]:
    """Return the figures of the main job."""
    return (*fresh_clone(),)


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
