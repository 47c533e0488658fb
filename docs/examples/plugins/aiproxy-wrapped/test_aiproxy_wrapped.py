"""The runtime keeps the contract: `pytest test_aiproxy_wrapped.py`."""

from pathlib import Path

import pytest
from aiproxy_wrapped import Wrapped, WrappedOptions

from proxyserver.contract import CHECKS, Check, ProcessBench, check_name, run_check
from proxyserver.runtime import Runtime, RuntimePlace


@pytest.mark.parametrize("check", CHECKS, ids=check_name)
def test_contract(check: Check, tmp_path: Path) -> None:
    """Each check gets a folder, and servers, of its own."""

    def make() -> Runtime:
        return Wrapped().make(RuntimePlace("test", tmp_path))

    run_check(check, lambda: ProcessBench(make, options=WrappedOptions(by=("nice", "-n", "5"))))
