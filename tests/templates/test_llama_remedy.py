"""What a llamacpp service is told when memory lacks: a change of options that does fit."""

import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from proxyserver.templates import Draft, Need, Room
from proxyserver.templates._llama_remedy import SMALLER
from proxyserver.templates.llamacpp import LlamaCpp, LlamaCppOptions
from tests.gguf.writing import dense, dense_tensors, words, write

WANTED: dict[str, Any] = {"ctx": 100_000, "cache_ram": 0}


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(write(tmp_path / "x.gguf", dense(24) | words(), dense_tensors(24)))


def draft(model: str, **options: Any) -> Draft:
    return LlamaCpp().draft(LlamaCppOptions(model, **WANTED | options))


def need(found: Draft) -> Need:
    assert found.need is not None
    return found.need


def said(found: Draft, room: Room) -> str:
    assert found.remedy is not None
    return found.remedy(room)


def changes(text: str) -> list[dict[str, Any]]:
    """Read the options back from what is said."""
    found = []
    for change in text.partition(": ")[2].split(", or "):
        options: dict[str, Any] = {}
        for keys, value in re.findall(r"(`\w+`(?: and `\w+`)?) (?:from \d+ )?to (\w+)", change):
            for key in re.findall(r"`(\w+)`", keys):
                options[key] = int(value) if value.isdecimal() else value
        found.append(options)
    return found


def test_what_is_said_does_fit(model: str) -> None:
    """Each of the changes, put into the configuration, takes no more than there is."""
    most = need(draft(model)).vram * 2 // 3
    told = changes(said(draft(model), Room(most, 1 << 40)))
    assert [sorted(one) for one in told] == [
        ["ctx"],
        ["cache_type_k", "cache_type_v"],
        ["gpu_layers"],
    ]
    for options in told:
        assert need(draft(model, **options)).vram <= most


def test_a_context_that_nobody_set(model: str) -> None:
    """It is named as what the model was trained with."""
    found = draft(model, ctx=None)
    text = said(found, Room(need(found).vram * 3 // 4, 1 << 40))
    assert "set `ctx` to" in text
    assert "(left out, it is 32768)" in text


def test_what_took_more_than_its_estimate(model: str) -> None:
    """Twice the estimate was too little in a room of 1.8 of it: all settings count as twice."""
    found = draft(model)
    once = need(found).vram
    room = Room(once * 18 // 10, 1 << 40, wanted_vram=once * 2)
    for options in changes(said(found, room)):
        assert need(draft(model, **options)).vram <= once * 9 // 10


def test_what_should_have_fitted(model: str) -> None:
    """Nothing can be computed: the general words must do."""
    found = draft(model)
    room = Room(need(found).vram * 2, 1 << 40, wanted_vram=need(found).vram)
    assert said(found, room).endswith(SMALLER)
    assert said(found, attrs.evolve(room, wanted_vram=0)).endswith("which there is")


def test_two_changes_together(model: str) -> None:
    found = draft(model, gpu_layers=0)
    least = draft(model, gpu_layers=0, ctx=1024).need
    assert least is not None
    text = said(found, Room(0, least.ram - (4 << 20)))
    both = "`cache_type_k` and `cache_type_v` to q8_0"
    assert text.endswith(f": lower `ctx` from 100000 to 1024 and set {both}")


def test_a_smaller_model_where_nothing_helps(model: str) -> None:
    assert said(draft(model, gpu_layers=0), Room(0, 1 << 20)).endswith(": take a smaller model")


def test_only_the_keys_without_flash_attention(model: str) -> None:
    found = draft(model, gpu_layers=0, flash_attention=False)
    text = said(found, Room(0, need(found).ram * 9 // 10))
    assert text.endswith("or set `cache_type_k` to q8_0")


def test_what_cannot_be_estimated_has_the_general_words(model: str) -> None:
    assert said(draft(model, args=("--no-kv-offload",)), Room(0, 0)) == SMALLER
