"""What everything that fetches images keeps, the fake of our tests too."""

from collections.abc import Callable

import pytest
import trio

from proxycore import Cause
from proxyserver.pulls import Images
from proxyserver.runtime import PullProgress, RuntimeFault


async def check_images(
    images: Images, image: str, broken: str, go_on: Callable[[], None] = lambda: None
) -> None:
    """Check it with an image that comes half until `go_on`, and one whose pull fails."""
    assert await _missing(images, image)
    with trio.CancelScope() as scope:
        await images.pull(image, lambda step: scope.cancel() if step.done else None)
    assert scope.cancelled_caught
    go_on()
    assert await _missing(images, image), "a cancelled pull leaves nothing"
    with pytest.raises(RuntimeFault) as caught:
        await images.pull(broken, lambda step: None)
    assert isinstance(caught.value.cause, Cause)
    assert await _missing(images, broken), "a failed pull leaves nothing"
    steps: list[PullProgress] = []
    await images.pull(image, steps.append)
    assert not await _missing(images, image)
    assert steps[0].done == 0
    assert steps[-1].done == steps[-1].total > 0
    assert [step.done for step in steps] == sorted(step.done for step in steps)


async def _missing(images: Images, image: str) -> bool:
    try:
        await images.check(image)
    except RuntimeFault as fault:
        return (fault.cause.kind, fault.cause.heals) == ("image_missing", False)
    return False
