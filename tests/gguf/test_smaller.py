"""The smallest changes with which a model fits: they do fit, and less would not."""

from pathlib import Path

import attrs
import pytest

from proxyserver.gguf import Estimate, Model, Setting, estimate, read_model, smaller

from .writing import dense, dense_tensors, words, write

WANTED = Setting(ctx=32768)
MIB = 1 << 20


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return read_model(write(tmp_path / "x.gguf", dense(24) | words(), dense_tensors(24)))


def within(vram: int, ram: int = 1 << 40) -> "Fits":
    return Fits(vram, ram)


@attrs.frozen
class Fits:
    """So much memory."""

    vram: int
    ram: int

    def __call__(self, found: Estimate) -> bool:
        return found.vram.total <= self.vram and found.ram.total <= self.ram


def test_each_kind_of_change_is_the_smallest(model: Model) -> None:
    """One step less of it would not fit."""
    fits = within(estimate(model, WANTED).vram.total * 3 // 4)
    context, cache, layers = smaller(model, WANTED, fits)
    assert cache == Setting(ctx=32768, cache_type_k="q8_0", cache_type_v="q8_0")
    assert context == Setting(ctx=context.ctx)
    assert layers == Setting(ctx=32768, gpu_layers=layers.gpu_layers)
    assert context.ctx is not None
    assert layers.gpu_layers is not None
    for one in (context, cache, layers):
        assert fits(estimate(model, one))
    for more in (
        Setting(ctx=context.ctx + 1024),
        Setting(ctx=32768, gpu_layers=layers.gpu_layers + 1),
    ):
        assert not fits(estimate(model, more))


def test_main_memory_bounds_what_moves_there(model: Model) -> None:
    """Layers leave the GPU only where main memory takes them."""
    now = estimate(model, WANTED)
    fits = within(now.vram.total * 3 // 4, now.ram.total + MIB)
    assert [one.gpu_layers for one in smaller(model, WANTED, fits)] == [None, None]


def test_two_changes_where_one_does_not_suffice(model: Model) -> None:
    """A smaller cache first, which costs less than a shorter context."""
    setting = attrs.evolve(WANTED, gpu_layers=0)
    least = estimate(model, attrs.evolve(setting, ctx=1024)).ram.total
    (both,) = smaller(model, setting, within(0, least - MIB))
    assert (both.ctx, both.cache_type_k, both.cache_type_v) == (1024, "q8_0", "q8_0")


def test_nothing_helps_where_the_weights_do_not_fit(model: Model) -> None:
    setting = attrs.evolve(WANTED, gpu_layers=0)
    assert smaller(model, setting, within(0, model.size // 2)) == ()


def test_values_need_flash_attention_to_be_quantised(model: Model) -> None:
    """Without it, the type of the keys alone is changed."""
    setting = attrs.evolve(WANTED, gpu_layers=0, flash_attention=False)
    fits = within(0, estimate(model, setting).ram.total - 100 * MIB)
    caches = {(one.cache_type_k, one.cache_type_v) for one in smaller(model, setting, fits)}
    assert caches == {("f16", "f16"), ("q8_0", "f16")}


def test_a_slot_keeps_its_context(model: Model) -> None:
    """Less than 1024 tokens for each is no offer."""
    setting = Setting(ctx=32768, parallel=8)
    fits = within(estimate(model, setting).vram.total * 3 // 4)
    context = smaller(model, setting, fits)[0].ctx
    assert context is not None
    assert context % 8192 == 0


def test_an_odd_head_keeps_its_type(tmp_path: Path) -> None:
    """A cache in blocks of 32 numbers needs heads of as many."""
    odd = dense(24, attention__key_length=80, attention__value_length=80) | words()
    model = read_model(write(tmp_path / "x.gguf", odd, dense_tensors(24)))
    fits = within(estimate(model, WANTED).vram.total * 3 // 4)
    assert {one.cache_type_k for one in smaller(model, WANTED, fits)} == {"f16"}
