"""Images: which are here, and how they are fetched from a registry by a real engine."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
import trio

from proxycore import Cause
from proxyserver.contract import PATIENCE_S, eventually
from proxyserver.runtime import EngineImages, PullProgress, RuntimeFault, RuntimeUnreachable
from proxyserver.runtime._pull_steps import ROOM_LEAST
from tests.rig.check_images import check_images
from tests.rig.engine import Engine, private_engine
from tests.rig.registry import noise, registry

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.fixture
def client(engine: Engine) -> Iterator[docker.DockerClient]:
    with contextlib.closing(engine.client()) as client:
        yield client


@pytest.fixture
def images(engine: Engine) -> EngineImages:
    return EngineImages(engine.host)


def ignore(step: PullProgress) -> None:
    """Take no note of a step."""


async def fault_of(images: EngineImages, image: str) -> Cause:
    with pytest.raises(RuntimeFault) as caught, trio.fail_after(PATIENCE_S):
        await images.pull(image, ignore)
    return caught.value.cause


def all_images(client: docker.DockerClient) -> set[str]:
    """Return the ids of all images, those without a name too."""
    return {str(image.id) for image in client.images.list(all=True)}


async def test_images_of_an_engine_keep_what_all_keep(images: EngineImages) -> None:
    """So that what the fake is tested by is true of an engine."""
    with registry(noise(4_000_000), hold=True) as source, registry(noise(9), broken=True) as broken:
        await check_images(images, source.image, broken.image, source.go_on.set)


async def test_a_pull_fetches_and_tells(images: EngineImages, client: docker.DockerClient) -> None:
    """How far it is, over all layers; and once it is here, nothing more is fetched."""
    steps: list[PullProgress] = []
    with registry(noise(3_000_000)) as source:
        await images.pull(source.image, steps.append)
        await images.check(source.image)
        await images.pull(source.image, ignore)
    assert source.layers_sent == 1
    assert client.images.get(source.image)
    assert steps[-1].done == steps[-1].total >= 3_000_000
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1].status == f"Downloaded newer image for {source.image}"


async def test_which_image_is_not_here(images: EngineImages, mock_image: str) -> None:
    """An image that is here is fine; one that is not, or cannot be, is a fault."""
    await images.check(mock_image)
    for image in ("nothing-here:1", "Nothing Here"):
        with pytest.raises(RuntimeFault, match=r"(?i)nothing.here") as caught:
            await images.check(image)
        assert not isinstance(caught.value, RuntimeUnreachable)


async def test_a_failed_pull_keeps_the_old_image(
    images: EngineImages, client: docker.DockerClient, mock_image: str
) -> None:
    """And leaves nothing of the new one."""
    with registry(noise(1000), broken=True) as source:
        client.images.get(mock_image).tag(f"{source.name}/tiny", "1")
        before = all_images(client)
        cause = await fault_of(images, source.image)
    assert cause == Cause("pull_failed", f"{source.image}: unknown blob")
    assert client.images.get(source.image).id == client.images.get(mock_image).id
    assert all_images(client) == before


async def test_what_a_pull_fails_of(images: EngineImages) -> None:
    """The cause says what would help."""
    with registry(b"here") as source:
        unknown = await fault_of(images, f"{source.name}/tiny:2")
    away = await fault_of(images, source.image)
    odd = await fault_of(images, "-odd-/tiny:1")
    assert (unknown.kind, unknown.heals) == ("image_unknown", False)
    assert "and the tag?" in unknown.message
    assert (away.kind, away.heals) == ("registry_unreachable", True)
    assert "connection refused" in away.message
    assert (odd.kind, odd.heals) == ("image_unknown", False)


async def test_credentials_are_those_of_the_user(
    images: EngineImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `docker login` keeps them, read anew for each pull; who has none is told to log in."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    def log_in(**said: object) -> None:
        (tmp_path / "config.json").write_text(json.dumps(said))

    with registry(b"private", password="secret") as source:
        none = await fault_of(images, source.image)
        log_in(auths={source.name: {"auth": "bWU6d3Jvbmc="}})
        wrong = await fault_of(images, source.image)
        log_in(credHelpers={source.name: "is-not-here"})
        broken = await fault_of(images, source.image)
        log_in(auths={source.name: {"auth": "bWU6c2VjcmV0"}})
        await images.pull(source.image, ignore)
    assert [one.kind for one in (none, wrong, broken)] == ["registry_login"] * 3
    assert "docker login" in none.message
    assert "docker-credential-is-not-here" in broken.message
    await images.check(source.image)


async def test_a_cancelled_pull_leaves_nothing(
    images: EngineImages, client: docker.DockerClient
) -> None:
    """The engine stops fetching; the next try is as the first."""
    before = all_images(client)
    with registry(noise(4_000_000), hold=True) as source:
        async with trio.open_nursery() as nursery:

            def note(step: PullProgress) -> None:
                if step.done:
                    nursery.cancel_scope.cancel()

            with trio.fail_after(PATIENCE_S):
                await images.pull(source.image, note)
        assert nursery.cancel_scope.cancelled_caught
        assert all_images(client) == before
        source.go_on.set()
        await images.pull(source.image, ignore)
    await images.check(source.image)


async def test_a_pull_that_stalls_is_given_up(engine: Engine, client: docker.DockerClient) -> None:
    """Not as long as bytes come, but once none have come for a while."""
    images = EngineImages(engine.host, stall_s=0.5)
    before = all_images(client)
    with registry(noise(4_000_000), hold=True) as source:
        cause = await fault_of(images, source.image)
    assert cause.kind == "pull_stalled"
    assert "nothing came for 0.5 s, after" in cause.message
    assert "of 3 MiB" in cause.message
    assert all_images(client) == before


async def test_what_does_not_fit_is_not_fetched(
    engine: Engine, client: docker.DockerClient
) -> None:
    """As soon as the sizes are known; the folder asked about is the engine's own."""
    asked: set[Path] = set()

    async def free(folder: Path) -> int:
        asked.add(folder)
        return ROOM_LEAST + (1 << 20)

    before = all_images(client)
    with registry(noise(4_000_000), hold=True) as source:
        cause = await fault_of(EngineImages(engine.host, free=free), source.image)
    assert asked == {engine.folder / "data"}
    assert cause == Cause(
        "disk_full",
        f"{source.image} does not fit: at least 3 MiB are still to come and 512 MiB shall stay"
        f" free, and 513 MiB are free in {engine.folder}/data. Remove images and containers that"
        " nobody needs (`docker system prune`), or give the engine a larger disk (`data-root`).",
    )
    assert all_images(client) == before


async def test_a_full_disk_is_told_before_anything_is_asked(engine: Engine) -> None:
    """No registry is asked for what has no room in any case."""
    with registry(b"small") as source:

        async def free(folder: Path) -> int:
            return 5 << 20

        images = EngineImages(engine.host, free=free)
        cause = await fault_of(images, source.image)
    assert (cause.kind, source.asked) == ("disk_full", [])
    assert "512 MiB shall stay free, and 5 MiB are free" in cause.message


async def test_an_engine_that_ends_in_the_middle_is_out_of_reach(tmp_path: Path) -> None:
    """That is not the image's fault."""
    with private_engine() as engine, registry(noise(4_000_000), hold=True) as source:
        caught: list[RuntimeFault] = []

        async def pull() -> None:
            try:
                await EngineImages(engine.host).pull(source.image, ignore)
            except RuntimeFault as fault:
                caught.append(fault)

        async def has_begun() -> bool:
            await trio.lowlevel.checkpoint()
            return source.layers_sent > 0

        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pull)
                await eventually(has_begun)
                await trio.to_thread.run_sync(engine.kill)
    (fault,) = caught
    assert isinstance(fault, RuntimeUnreachable)
