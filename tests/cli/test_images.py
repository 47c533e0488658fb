"""Images that are missing are told with line and column, before anything starts."""

from pathlib import Path

import pytest

from tests.rig.engine import Engine

from .daemon import aiproxy

pytestmark = pytest.mark.slow  # Each starts a Python of its own.


def written(folder: Path, host: str, image: str) -> Path:
    path = folder / "aiproxy.yaml"
    path.write_text(
        f"server: {{ram: 8GiB, state_dir: {folder}/state, docker: {{host: '{host}'}}}}\n"
        f"services:\n  here: {{container: {{image: '{image}', port: 80}}}}\n"
        "  gone:\n    container:\n      image: nothing-here:1\n      port: 80\n"
    )
    return path


@pytest.mark.engine
def test_missing_images_are_told_by_line_and_column(
    tmp_path: Path, engine: Engine, mock_image: str
) -> None:
    """By `config check`, and by `serve`, which then starts nothing."""
    path = written(tmp_path, engine.host, mock_image)
    for command in (["config", "check", str(path)], ["serve", "--config", str(path)]):
        done = aiproxy(*command)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            f"{path}:6:14: services.gone.container.image:"
            " image 'nothing-here:1' is not here: fetch it with `aiproxy pull`\n"
        )
    assert not (tmp_path / "state").exists()


@pytest.mark.engine
def test_a_pull_that_fails_says_why_once(tmp_path: Path, engine: Engine) -> None:
    """The image, then the engine's own words."""
    image = "127.0.0.1:9/nothing:1"
    done = aiproxy("pull", "here", "--config", str(written(tmp_path, engine.host, image)))
    assert done.returncode == 1
    assert done.stderr.startswith(f"aiproxy: {image}: ")
    assert done.stderr.count(image) == 1


def test_an_engine_out_of_reach_is_no_mistake(tmp_path: Path) -> None:
    """The configuration is good as far as anybody can tell; what nobody could tell is said."""
    path = written(tmp_path, f"unix://{tmp_path}/none.sock", "any:1")
    done = aiproxy("config", "check", str(path))
    assert (done.returncode, "good" in done.stdout) == (0, True)
    assert "not checked whether the images are here" in done.stderr
    assert "cannot be reached" in done.stderr
