"""The models of a folder: which files are one, which lie beside one, and which are not whole."""

from pathlib import Path

from proxyserver.gguf import Folder, FolderModel, models_in

from .writing import dense, dense_tensors, write


def model(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write(path, dense(1), dense_tensors(1))


def test_every_file_is_a_model_by_its_name(tmp_path: Path) -> None:
    """Folders below count as well; what is hidden or no GGUF does not."""
    one, two = model(tmp_path / "Two-Q4_K_M.gguf"), model(tmp_path / "maker" / "one.GGUF")
    model(tmp_path / ".cache" / "three.gguf")
    model(tmp_path / ".four.gguf")
    (tmp_path / "README.md").write_text("five")
    assert models_in(tmp_path) == Folder((FolderModel("Two-Q4_K_M", one), FolderModel("one", two)))


def test_a_split_model_is_one(tmp_path: Path) -> None:
    """It has the name without the number; without all of its parts it is left out."""
    first = model(tmp_path / "big-00001-of-00002.gguf")
    model(tmp_path / "big-00002-of-00002.gguf")
    broken = model(tmp_path / "torn-00001-of-00002.gguf")
    missing = tmp_path / "torn-00002-of-00002.gguf"
    assert models_in(tmp_path) == Folder(
        (FolderModel("big", first),), (f"{broken}: part 2 of 2 is missing: {missing}",)
    )


def test_a_projector_goes_with_the_models_beside_it(tmp_path: Path) -> None:
    """It is no model itself; of two nobody knows which is meant."""
    seeing, projector = model(tmp_path / "a/sees.gguf"), model(tmp_path / "a/mmproj-f16.gguf")
    torn = model(tmp_path / "b/torn.gguf")
    model(tmp_path / "b/mmproj-1.gguf")
    model(tmp_path / "b/mmproj-2.gguf")
    assert models_in(tmp_path).models == (
        FolderModel("sees", seeing, projector),
        FolderModel("torn", torn),
    )


def test_a_file_that_is_not_whole_is_left_out(tmp_path: Path) -> None:
    """One byte less than its head says, within its head, and none at all."""
    whole = model(tmp_path / "whole.gguf")
    size = whole.stat().st_size
    for name, length in (("most.gguf", size - 1), ("head.gguf", 100), ("none.gguf", 0)):
        with model(tmp_path / name).open("r+b") as file:
            file.truncate(length)
    found = models_in(tmp_path)
    assert found.models == (FolderModel("whole", whole),)
    assert found.left_out == (
        f"{tmp_path / 'head.gguf'}: ends within its head: it is incomplete",
        f"{tmp_path / 'most.gguf'}: is incomplete: {size - 1:,} of {size:,} bytes are there",
        f"{tmp_path / 'none.gguf'}: ends within its head: it is incomplete",
    )


def test_of_one_name_there_is_one(tmp_path: Path) -> None:
    """The first by path is taken, and the other is told of."""
    first, second = model(tmp_path / "a/x.gguf"), model(tmp_path / "b/x.gguf")
    assert models_in(tmp_path) == Folder(
        (FolderModel("x", first),), (f"{second}: has the name of {first}",)
    )
