"""Images of a scripted engine, for tests on Trio's mock clock (check_images.py holds for it).

images = FakeImages()
"""

import attrs
import trio

from proxycore import Cause
from proxyserver.runtime import Progress, PullProgress, RuntimeFault, RuntimeUnreachable


@attrs.define
class FakeImages:
    """Fetches a tenth of an image each second."""

    here: set[str] = attrs.field(factory=set)
    faults: dict[str, Cause] = attrs.field(factory=dict)
    """What the pull of an image fails of, when half of it has come."""
    size: int = 100 << 20
    second_s: float = 1.0
    """How long its seconds are."""
    lost: str = ""
    """Why the engine cannot be reached; empty: it can."""
    asked: list[str] = attrs.field(factory=list)
    """The images that were fetched, or began to be."""
    ended: int = 0
    """How many pulls are over, in whatever way."""

    async def check(self, image: str) -> None:
        await trio.lowlevel.checkpoint()
        if self.lost:
            raise RuntimeUnreachable(Cause("engine_unreachable", self.lost))
        if image not in self.here:
            raise RuntimeFault(Cause("image_missing", f"image {image!r} is not here", heals=False))

    async def pull(self, image: str, progress: Progress) -> None:
        self.asked.append(image)
        try:
            for tenth in range(10):
                progress(PullProgress("Downloading", tenth * self.size // 10, self.size))
                await trio.sleep(self.second_s)
                if tenth == 5 and image in self.faults:
                    raise RuntimeFault(self.faults[image])
        finally:
            self.ended += 1
        progress(PullProgress("Pull complete", self.size, self.size))
        self.here.add(image)
