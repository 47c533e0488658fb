"""A how-to with a program in it works as it stands."""

import re
import subprocess
import sys

import pytest

from .docs import page
from .tree import ROOT

POLICY = "how-to/simulate-your-own-policy.md"


@pytest.mark.slow
def test_own_policy_is_simulated() -> None:
    """Copied from the page and run at the top of a clone, it compares three policies."""
    [program] = re.findall(r"^```python\n(.*?)^```", page(POLICY), re.M | re.S)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.stderr == ""
    told = re.findall(
        r"^(\w+): ([\d.]+) times the least load, mean wait [\d.]+ s$", done.stdout, re.M
    )
    assert [name for name, _ in told] == ["cost_over_age", "cost_rate", "lru"]
    assert all(float(times) >= 1.0 for _, times in told)
