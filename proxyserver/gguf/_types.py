"""The tables of GGUF: types of tensors with their sizes, and names of quantisations.

From ggml's `ggml.h` and `ggml-common.h`, and llama.cpp's `llama.h` (`llama_ftype`).
"""

from collections.abc import Mapping
from types import MappingProxyType

import attrs


@attrs.frozen
class Block:
    """The unit in which a type stores numbers."""

    name: str
    elements: int
    size: int

    def row(self, elements: int) -> int:
        """Return the bytes of so many numbers, in whole blocks."""
        return -(-elements // self.elements) * self.size


BLOCKS: Mapping[int, Block] = MappingProxyType(
    {
        0: Block("f32", 1, 4),
        1: Block("f16", 1, 2),
        2: Block("q4_0", 32, 18),
        3: Block("q4_1", 32, 20),
        6: Block("q5_0", 32, 22),
        7: Block("q5_1", 32, 24),
        8: Block("q8_0", 32, 34),
        9: Block("q8_1", 32, 36),
        10: Block("q2_K", 256, 84),
        11: Block("q3_K", 256, 110),
        12: Block("q4_K", 256, 144),
        13: Block("q5_K", 256, 176),
        14: Block("q6_K", 256, 210),
        15: Block("q8_K", 256, 292),
        16: Block("iq2_xxs", 256, 66),
        17: Block("iq2_xs", 256, 74),
        18: Block("iq3_xxs", 256, 98),
        19: Block("iq1_s", 256, 50),
        20: Block("iq4_nl", 32, 18),
        21: Block("iq3_s", 256, 110),
        22: Block("iq2_s", 256, 82),
        23: Block("iq4_xs", 256, 136),
        24: Block("i8", 1, 1),
        25: Block("i16", 1, 2),
        26: Block("i32", 1, 4),
        27: Block("i64", 1, 8),
        28: Block("f64", 1, 8),
        29: Block("iq1_m", 256, 56),
        30: Block("bf16", 1, 2),
        34: Block("tq1_0", 256, 54),
        35: Block("tq2_0", 256, 66),
        39: Block("mxfp4", 32, 17),
        40: Block("nvfp4", 64, 36),
        41: Block("q1_0", 128, 18),
        42: Block("q2_0", 64, 18),
    }
)
BLOCK_BY_NAME: Mapping[str, Block] = MappingProxyType({one.name: one for one in BLOCKS.values()})

# By the number in `general.file_type`; removed ones are left out.
FILE_TYPES: Mapping[int, str] = MappingProxyType(
    dict(enumerate(["F32", "F16", "Q4_0", "Q4_1"]))
    | dict(
        enumerate(
            "Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ2_XXS "
            "IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M "
            "BF16".split(),
            start=7,
        )
    )
    | dict(enumerate("TQ1_0 TQ2_0 MXFP4_MOE NVFP4 Q1_0".split(), start=36))
)
