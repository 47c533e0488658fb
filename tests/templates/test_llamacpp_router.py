"""What the router template makes of its options."""

from pathlib import Path

import pytest

from proxyserver.templates import ModelState
from proxyserver.templates.llamacpp_router import (
    LlamaCppRouter,
    LlamaCppRouterOptions,
    state_of,
)


def test_the_proxy_alone_decides_what_is_loaded(tmp_path: Path) -> None:
    """The server loads nothing by itself and has no limit; the folder is all that it sees."""
    options = LlamaCppRouterOptions(str(tmp_path), ctx=512, gpu_layers=0, api_key="k")
    draft = LlamaCppRouter().draft(options)
    assert draft.process is not None
    assert draft.process.command == (
        *("llama-server", "--models-dir", str(tmp_path), "--no-models-autoload"),
        *("--models-max", "0", "--host", "127.0.0.1", "--port", "${PORT}"),
        *(
            "--sse-ping-interval",
            "1",
            "--metrics",
            "-lv",
            "4",
            "--ctx-size",
            "512",
            "--gpu-layers",
            "0",
        ),
    )
    assert draft.process.environment == (("LLAMA_API_KEY", "k"),)
    assert draft.container is not None
    assert draft.container.image.endswith(":server")
    assert [mount.source for mount in draft.container.mounts] == [str(tmp_path)]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """At once, and not by a server that has no models."""
    with pytest.raises(ValueError, match="no such folder"):
        LlamaCppRouter().draft(LlamaCppRouterOptions(str(tmp_path / "none")))


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ({"value": "unloaded"}, ModelState.UNLOADED),
        ({"value": "unloaded", "exit_code": 1, "failed": True}, ModelState.FAILED),
        ({"value": "loading"}, ModelState.LOADING),
        ({"value": "downloading"}, ModelState.LOADING),
        ({"value": "loaded"}, ModelState.LOADED),
        ({"value": "sleeping"}, ModelState.LOADED),
        ("rubbish", ModelState.LOADING),
    ],
)
def test_what_the_server_says_of_a_model_is_understood(told: object, state: ModelState) -> None:
    """As build 10434 says it."""
    assert state_of(told).state is state
