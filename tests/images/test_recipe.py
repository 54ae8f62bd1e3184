"""What a recipe's folder says, and when an image counts as changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.containers.recipe import (
    Recipe,
    Variant,
    choose_variant,
    hash_inputs,
    load_recipe,
    recipe_names,
)
from appliance.errors import InvalidRequest, NotFound, SpudError

pytestmark = pytest.mark.unit
IMAGES = Path(__file__).parents[2] / "images"


@pytest.fixture
def tensorflow() -> Recipe:
    return load_recipe(IMAGES, "tensorflow")


def copy(recipe: Recipe, folder: Path) -> Recipe:
    (folder / "images" / recipe.name).mkdir(parents=True)
    for name in ("image.toml", "versions.txt", "README.md"):
        (folder / "images" / recipe.name / name).write_bytes((recipe.folder / name).read_bytes())
    return load_recipe(folder / "images", recipe.name)


def test_every_folder_of_images_is_a_recipe() -> None:
    assert recipe_names(IMAGES) == sorted(path.name for path in IMAGES.iterdir() if path.is_dir())


def test_the_image_bears_the_version_that_is_pinned_for_its_package(tensorflow: Recipe) -> None:
    pinned = (IMAGES / "tensorflow/versions.txt").read_text()
    assert f"\ntensorflow=={tensorflow.version}\n" in pinned
    assert f"\ntensorflow-cpu=={tensorflow.version}\n" in pinned


def test_tag_names_version_and_variant(tensorflow: Recipe) -> None:
    assert tensorflow.tag(Variant("gpu", "pascal")) == f"spud/tensorflow:{tensorflow.version}-gpu-pascal"


def test_tag_of_a_recipe_without_variants_is_its_version() -> None:
    assert load_recipe(IMAGES, "base").tag(Variant()) == "spud/base:1"


@pytest.mark.parametrize("lock", ["cpu", "gpu-pascal", "gpu-turing"])
def test_every_variant_has_a_lock_with_hashes_and_no_download_host(lock: str) -> None:
    text = (IMAGES / f"tensorflow/locks/{lock}.txt").read_text()
    assert "--hash=sha256:" in text
    assert "://" not in text


def test_pascal_gets_the_last_cudnn_that_runs_on_it() -> None:
    lock = (IMAGES / "tensorflow/locks/gpu-pascal.txt").read_text()
    assert "nvidia-cudnn-cu12==9.10.2.21 " in lock


@pytest.mark.parametrize(
    ("capabilities", "lock"),
    [
        ([], "cpu"),
        ([6.1], "gpu-pascal"),
        ([7.0], "gpu-pascal"),
        ([7.5], "gpu-turing"),
        ([12.0], "gpu-turing"),
        ([8.9, 6.0], "gpu-pascal"),
        ([5.2], "cpu"),
    ],
)
def test_auto_serves_the_oldest_card_of_the_box(
    tensorflow: Recipe, capabilities: list[float], lock: str
) -> None:
    assert choose_variant(tensorflow, "auto", "", capabilities).lock == lock


def test_generation_can_be_named_for_another_box(tensorflow: Recipe) -> None:
    assert choose_variant(tensorflow, "gpu", "pascal", []).lock == "gpu-pascal"


def test_unknown_variant_is_refused_with_the_known_ones(tensorflow: Recipe) -> None:
    with pytest.raises(InvalidRequest, match=r"no variant tpu\. Known are: cpu, gpu\."):
        choose_variant(tensorflow, "tpu", "", [])


def test_unknown_generation_is_refused_with_the_known_ones(tensorflow: Recipe) -> None:
    with pytest.raises(InvalidRequest, match=r"no GPU generation kepler\. Known are: pascal, turing\."):
        choose_variant(tensorflow, "gpu", "kepler", [])


def test_unknown_recipe_is_refused_with_the_known_ones() -> None:
    with pytest.raises(NotFound, match=r"no image recipe mxnet .* Known are: base, tensorflow\."):
        load_recipe(IMAGES, "mxnet")


def test_broken_recipe_says_which_file(tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/image.toml").write_text("version = ")
    with pytest.raises(SpudError, match=r"odd/image\.toml is not a recipe"):
        load_recipe(tmp_path, "odd")


def test_same_inputs_have_the_same_hash(tensorflow: Recipe) -> None:
    first, second = (hash_inputs(tensorflow, Variant("cpu"), ["sha256:1"]) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("variant", "origins"),
    [(Variant("gpu", "pascal"), ["sha256:1"]), (Variant("cpu"), ["sha256:2"]), (Variant("cpu"), [])],
)
def test_another_variant_or_parent_is_another_hash(
    tensorflow: Recipe, variant: Variant, origins: list[str]
) -> None:
    same = hash_inputs(tensorflow, Variant("cpu"), ["sha256:1"])
    assert hash_inputs(tensorflow, variant, origins) != same


def test_another_file_is_another_hash_and_the_readme_is_not(tensorflow: Recipe, tmp_path: Path) -> None:
    recipe = copy(tensorflow, tmp_path)
    before = hash_inputs(recipe, Variant("cpu"), [])
    (recipe.folder / "README.md").write_text("other words")
    assert hash_inputs(recipe, Variant("cpu"), []) == before
    (recipe.folder / "Dockerfile").write_text("FROM scratch")
    assert hash_inputs(recipe, Variant("cpu"), []) != before
