"""The demo: a daemon with two models where only one fits, and requests that make it swap."""

import json as jsonlib
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import attrs
import httpx
import trio
import yaml

from . import answers
from ._errors import run_plainly
from .app import serve
from .http import ListenError
from .parts import LlamaParts, PartsMissing, cache_folder, fetch_llama
from .settings import SettingsError, load
from .telemetry import configure_logs

PORT = 8787
ANSWER_S = 120.0
"""The longest that one answer of the demo may take; on an old machine a load takes seconds."""
FLAGS = (
    *("-t", "1", "-np", "1", "--device", "none"),
    *("-fit", "off", "--no-warmup", "--no-ui", "--cache-ram", "0"),
)
"""One thread is enough for a small model, and leaves the machine to the proxy."""
QUESTION = "Tell me in one sentence what a proxy is."
TOKENS_MAX = 40

Choice = Literal["auto", "real", "small"]


class DemoFailed(Exception):
    """The demo did not show what it should; the text says why."""


@attrs.define
class Answer:
    """One streamed answer, timed from the request on."""

    first_token_s: float = 0.0
    total_s: float = 0.0
    tokens: int = 0

    @property
    def tokens_per_s(self) -> float:
        """The speed after the first token."""
        return (self.tokens - 1) / max(self.total_s - self.first_token_s, 1e-6)


def run_demo(*, once: bool, port: int | None, parts: Choice, json: bool = False) -> None:
    """Run the demo until Ctrl-C, or once through.

    Args:
        once: Play the requests and end.
        port: Where to listen; None: 8787, or a free one if that is taken.
        parts: Which servers to run.
        json: Print nothing but the timings of `once`, for programs.

    Raises:
        DemoFailed: something did not go as it should.
    """
    try:
        llama = run_plainly(_choose, parts)
        try:
            _demo_at(PORT if port is None else port, llama, once, json)
        except ListenError:
            if port is not None:
                raise DemoFailed(f"port {port} is taken or forbidden; try another --port") from None
            _demo_at(0, llama, once, json)
    except (SettingsError, httpx.HTTPError, OSError) as error:
        raise DemoFailed(str(error) or type(error).__name__) from None


def _demo_at(port: int, llama: LlamaParts | None, once: bool, json: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="aiproxy-demo-") as folder:
        run_plainly(_demo, Path(folder), port, llama, once, json)


async def _demo(folder: Path, port: int, llama: LlamaParts | None, once: bool, json: bool) -> None:
    configuration = folder / "aiproxy.yaml"
    configuration.write_text(
        yaml.safe_dump(_configuration(llama, port, folder, once), sort_keys=False)
    )
    settings = load(configuration, os.environ)
    configure_logs(settings.server.log_level, "text")
    async with trio.open_nursery() as nursery:
        url = await nursery.start(serve, settings)
        if not once:
            _introduce(url, configuration)
            return
        outcome = await _play_and_end(url, quiet=json)
    # Only now: an error inside would cancel the daemon, which then leaves its servers behind.
    if isinstance(outcome, Exception):
        raise outcome
    if json:
        print(jsonlib.dumps({"parts": "real" if llama else "small", **outcome}, indent=2))


async def _play_and_end(url: str, *, quiet: bool) -> dict[str, float] | Exception:
    """Play, then end the daemon as people do; return the figures, or what went wrong."""
    outcome: dict[str, float] | Exception
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=ANSWER_S) as http:
        try:
            outcome = await _play(http, quiet=quiet)
        except (DemoFailed, httpx.HTTPError) as error:
            outcome = error
        try:
            await http.get("/health")
        except httpx.HTTPError:
            return outcome  # Somebody has ended it; a second signal would cut it short.
    signal.raise_signal(signal.SIGTERM)
    return outcome


async def _choose(choice: Choice) -> LlamaParts | None:
    """Return the parts of a real server, or None for the stand-in.

    Raises:
        DemoFailed: a real one was asked for and cannot be had.
    """
    if choice == "small":
        return None
    try:
        return await fetch_llama(cache_folder())
    except PartsMissing as missing:
        if choice == "real":
            raise DemoFailed(str(missing)) from None
        print(
            f"aiproxy: no real llama-server here: {missing}\n"
            "aiproxy: going on with a small server of our own, which only repeats your words",
            file=sys.stderr,
        )
        return None


def _configuration(llama: LlamaParts | None, port: int, folder: Path, once: bool) -> dict[str, Any]:
    """Return a configuration by which two services share memory for one."""
    services: dict[str, Any] = {}
    for name, context in (("smollm-a", 2048), ("smollm-b", 1024)):
        if llama is not None:
            services[name] = {
                "type": "llamacpp",
                "binary": str(llama.server),
                "model": str(llama.model),
                "ctx": context,
                "gpu_layers": 0,
                "args": list(FLAGS),
                "process": {"environment": {"LD_LIBRARY_PATH": llama.library_path}},
            }
        else:
            script = Path(__file__).with_name("_demo_server.py")
            command = [sys.executable, "-P", str(script), "--port", "${PORT}", "--name", name]
            services[name] = {"process": {"command": command}, "ready": {"path": "/health"}}
        services[name]["memory"] = {"ram": "300MiB"}
    return {
        "server": {
            "port": port,
            "state_dir": str(folder / "state"),
            "runtime": "process",
            "ram": "512MiB",
            "headroom": 0,
            "log": {"level": "WARNING" if once else "INFO"},
        },
        "services": services,
    }


def _introduce(url: str, configuration: Path) -> None:
    # In a fresh clone the command is not on the PATH, and the other terminal may be elsewhere.
    called = Path(sys.argv[0]).absolute()
    command = shlex.quote(str(called)) if called.name == "aiproxy" else "aiproxy"
    body = jsonlib.dumps(
        {
            "model": "smollm-a",
            "stream": True,
            "messages": [{"role": "user", "content": QUESTION}],
        }
    )
    print(
        f"""
The proxy listens on {url}; its configuration is {configuration}
There is memory for one model only.  Try these in another terminal:

  curl -N {url}/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{body}'

  # the same with smollm-b takes the place of smollm-a, which is stopped

  # what runs, and why; how to stop one by hand
  curl {url}/api/v1/services
  {command} status --url {url}
  curl -X POST {url}/api/v1/service/smollm-b/stop

Ctrl-C ends the demo.
""",
        flush=True,
    )


async def _play(http: httpx.AsyncClient, *, quiet: bool) -> dict[str, float]:
    """Ask A twice, then B, and check that B took A's place.

    Raises:
        DemoFailed: an answer or the swap was not as it should be.
    """

    def say(text: str, end: str = "\n") -> None:
        if not quiet:
            print(text, end=end, flush=True)

    async def ask(model: str) -> Answer:
        say(f"  {model}: ", end="")
        answer = Answer()
        began = time.monotonic()
        async with _stream(http, model) as words:
            async for word in words:
                answer.total_s = time.monotonic() - began
                answer.first_token_s = answer.first_token_s or answer.total_s
                answer.tokens += 1
                say(word, end="")
        say("")
        if not answer.tokens:
            raise DemoFailed(f"{model} answered with nothing")
        return answer

    say(f"Two models, memory for one.  The question: {QUESTION}\n")
    say("smollm-a is not running; the request starts it:")
    cold = await ask("smollm-a")
    since_command_s = time.time() - float(os.environ.get("AIPROXY_DEMO_T0") or "nan")
    since_command_s -= cold.total_s - cold.first_token_s
    say("\nsmollm-a once more, now loaded:")
    warm = await ask("smollm-a")
    await _check_states(http, ready="smollm-a", down="smollm-b")
    say("\nsmollm-b does not fit beside it; smollm-a is stopped for it:")
    swapped = await ask("smollm-b")
    why = await _check_states(http, ready="smollm-b", down="smollm-a")
    say(f"\n  smollm-a: down ({why})\n  smollm-b: ready\n")
    figures = {
        "start_first_token_s": cold.first_token_s,
        "warm_first_token_s": warm.first_token_s,
        "swap_first_token_s": swapped.first_token_s,
        "swap_s": swapped.first_token_s - warm.first_token_s,
        "tokens_per_s": warm.tokens_per_s,
    }
    say(f"first token, start included   {cold.first_token_s:6.2f} s")
    say(f"first token, already loaded   {warm.first_token_s:6.2f} s")
    say(f"first token after the swap    {swapped.first_token_s:6.2f} s")
    say(f"tokens a second               {warm.tokens_per_s:6.0f}")
    if since_command_s == since_command_s:  # Not a number: nobody said when the command was given.
        figures["command_to_first_token_s"] = since_command_s
        say(f"from the command to the first token {since_command_s:.1f} s")
    return figures


@asynccontextmanager
async def _stream(http: httpx.AsyncClient, model: str) -> AsyncIterator[AsyncIterator[str]]:
    """Ask a model; yield the pieces of its answer as they come.

    Raises:
        DemoFailed: the answer is an error, or broke off.
    """
    body = {
        "model": model,
        "stream": True,
        "max_tokens": TOKENS_MAX,
        "temperature": 0,
        "messages": [{"role": "user", "content": QUESTION}],
    }

    async def pieces() -> AsyncIterator[str]:
        said = answers.Answer()
        try:
            async for line in answer.aiter_lines():
                if (piece := said.take(line)) is not None and piece.text:
                    yield piece.text
            said.finish()
        except answers.AnswerFailed as error:
            raise DemoFailed(f"{model}: {error}") from None

    async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        if not answer.is_success:
            await answer.aread()
            raise DemoFailed(f"{model}: HTTP {answer.status_code}: {answer.text.strip()}")
        yield pieces()


async def _check_states(http: httpx.AsyncClient, *, ready: str, down: str) -> str:
    """Return why the service that should be down is.

    Raises:
        DemoFailed: one of the two is in another state.
    """
    answer = await http.get("/api/v1/services")
    services = {one["id"]: one for one in answer.raise_for_status().json()["services"]}
    states = {name: one["state"] for name, one in services.items()}
    if states != {ready: "ready", down: "down"}:
        raise DemoFailed(f"{ready} should be ready and {down} down, but: {states}")
    return str(services[down]["why"])
