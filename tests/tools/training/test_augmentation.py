"""The images of a training beside those of a service: by how much they differ, and which."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from holdfast.policy.pi0.pi_policy import Pi05Policy
from holdfast.tests.tools.training.small_pi_trainings import pi_batches, pi_training, tiny
from holdfast.tools.training.augmentation import augmented
from holdfast.tools.training.episode_windows import fake_windows
from holdfast.tools.training.pi_batches import PiBatches
from holdfast.tools.training.pi_config import sized
from holdfast.tools.training.pi_presets import PI_CONFIGS
from holdfast.tools.training.ranks import Ranks
from holdfast.tools.training.training_batch import TrainingBatch
from holdfast.tools.training.training_check import fake_spec

SIDE, COUNT = 96, 24
WHOLE = slice(None)
seeds = st.integers(0, 2**32)


def changed(image: NDArray[np.uint8], seed: int, *, moves: bool) -> NDArray[np.uint8]:
    """COUNT changes of one image."""
    images = np.repeat(image[None], COUNT, axis=0)
    return augmented(images, np.random.default_rng(seed), WHOLE, moves=moves)


def plain(*rgb: int) -> NDArray[np.uint8]:
    """An image of one colour."""
    return np.full((SIDE, SIDE, 3), rgb, np.uint8)


@given(seeds)
def test_the_brightness_changes_by_at_most_three_tenths(seed: int) -> None:
    """A grey image has no contrast and no saturation: its factor is from 0.7 to 1.3."""
    found = changed(plain(120, 120, 120), seed, moves=False).reshape(COUNT, -1)
    assert (found == found[:, :1]).all()
    assert found.min() >= 0.7 * 120 - 1 and found.max() <= 1.3 * 120 + 1
    assert np.ptp(found[:, 0].astype(float)) > 0.2 * 120, "each image has its own"


@given(seeds)
def test_contrast_and_saturation_are_within_openpis_ranges(seed: int) -> None:
    """Two greys show the first by their difference, a colour the second by its channels'."""
    halves = plain(110, 110, 110)
    halves[:, SIDE // 2 :] = 90
    found = changed(halves, seed, moves=False).astype(float)
    brightness = found.mean((1, 2, 3)) / 100
    contrast = (found[:, 0, 0, 0] - found[:, 0, -1, 0]) / 20 / brightness
    assert contrast.min() >= 0.6 - 0.08 and contrast.max() <= 1.4 + 0.08
    found = changed(plain(120, 100, 80), seed, moves=False)[:, 0, 0].astype(float)
    brightness = found.mean(1) / 100
    # Of one colour, the contrast also changes how far the channels are apart.
    apart = (found[:, 0] - found[:, 2]) / 40 / brightness
    assert apart.min() >= 0.6 * 0.5 - 0.04 and apart.max() <= 1.4 * 1.5 + 0.04


@given(seeds)
def test_each_image_has_a_contrast_and_a_saturation_of_its_own(seed: int) -> None:
    """A grey half and a coloured one of a grey that the saturation does not change show both."""
    halves = plain(140, 140, 140)
    halves[:, SIDE // 2 :] = 75, 60, 45
    found = changed(halves, seed, moves=False).astype(float)
    grey, coloured = found[:, 0, 0].mean(-1), found[:, 0, -1]
    brightness = found.mean((1, 2, 3)) / 100
    contrast = (grey - coloured.mean(-1)) / 80 / brightness
    saturation = (coloured[:, 0] - coloured[:, 2]) / 30 / brightness / contrast
    assert np.ptp(contrast) > 0.2 and np.ptp(saturation) > 0.3
    assert abs(np.corrcoef(contrast, saturation)[0, 1]) < 0.95


def blobs(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Where the light of the left and of the right half of each image [b, h, w, 3] has its middle
    [b, 2, 2], across and down."""
    light = images.mean(-1)
    light -= light.min(axis=(1, 2), keepdims=True)
    down, across = np.mgrid[:SIDE, :SIDE]
    found = []
    for half in (across < SIDE / 2, across >= SIDE / 2):
        weight = light * half
        total = weight.sum((1, 2))
        found.append(np.stack([(weight * at).sum((1, 2)) / total for at in (across, down)], 1))
    return np.stack(found, 1)


def lights() -> NDArray[np.uint8]:
    """A white square in either half of a black image."""
    image = plain(0, 0, 0)
    for left in (20, 68):
        image[44:52, left : left + 8] = 255
    return image


@given(seeds)
def test_a_crop_leaves_nineteen_twentieths_and_a_turn_is_at_most_five_degrees(seed: int) -> None:
    """Two places are 1 / 0.95 as far apart, their line is turned, their middle is moved."""
    left, right = blobs(changed(lights(), seed, moves=True)).transpose(1, 0, 2)
    before = blobs(lights()[None])[0]
    line = right - left
    far = np.hypot(*line.T) / np.hypot(*(before[1] - before[0]))
    np.testing.assert_allclose(far, 1 / 0.95, atol=0.01)
    degrees = np.degrees(np.arctan2(line[:, 1], line[:, 0]))
    assert 1.0 < np.abs(degrees).max() < 5.2 and np.ptp(degrees) > 2
    away = np.abs((left + right) / 2 - before.mean(0))
    assert 0.5 < away.max() < 0.025 * SIDE / 0.95 + 0.4
    assert (np.ptp((left + right) / 2, axis=0) > 1).all(), "each image has its own"


@given(seeds)
def test_a_camera_on_a_wrist_is_recoloured_only(seed: int) -> None:
    """What it sees stays where it is."""
    found = blobs(changed(lights(), seed, moves=False))
    np.testing.assert_allclose(found, np.broadcast_to(blobs(lights()[None]), found.shape))


def seen(batch: TrainingBatch) -> list[NDArray[np.uint8]]:
    return [image.numpy() for image in batch.images]


def test_a_batch_is_a_function_of_its_seed_and_number() -> None:
    """The same again to the bit, also by parts of several processes; another seed gives others."""
    config = tiny(augment=True, cameras=("front", "left_wrist"))
    batches = pi_batches(pi_training(config))
    whole = seen(batches.draw(3))
    for again in (batches, pi_batches(pi_training(config))):
        for image, other in zip(whole, seen(again.draw(3)), strict=True):
            np.testing.assert_array_equal(image, other)
    parts = [seen(batches.draw(3, Ranks(rank, 2))) for rank in range(2)]
    for image, *halves in zip(whole, *parts, strict=True):
        np.testing.assert_array_equal(image, np.concatenate(halves))
    for image, other in zip(whole, seen(batches.draw(4)), strict=True):
        assert not np.array_equal(image, other)


def test_the_cameras_of_wrists_are_known_by_their_place_in_the_model() -> None:
    """A grey image that is turned has black corners, one that is recoloured has none."""
    config = sized(tiny(augment=True, cameras=("front", "left_wrist"), batch=16))
    spec = fake_spec(config)
    data = fake_windows(spec)
    grey = {name: np.full_like(image, 128) for name, image in data.images.items()}
    front, wrist = seen(PiBatches(config, spec, replace(data, images=grey)).draw(0))
    assert front.shape == wrist.shape == (16, 16, 16, 3)
    assert (wrist == wrist[:, :1, :1]).all() and not (front == front[:, :1, :1]).all()


def test_a_service_sees_images_as_they_are(tmp_path: Path) -> None:
    """A checkpoint of such a training takes an image to the bit as one without."""
    images = []
    for augment in (False, True):
        folder = tmp_path / str(augment)
        pi_training(tiny(augment=augment)).save(folder)
        policy = Pi05Policy(str(folder))
        images.append(policy._sample(policy.spec.example()).images)
    assert images[0].keys() == images[1].keys()
    for slot, image in images[0].items():
        np.testing.assert_array_equal(image, images[1][slot])


@pytest.mark.parametrize("name", sorted(PI_CONFIGS))
def test_the_configs_of_openpi_augment_and_no_other(name: str) -> None:
    """openpi augments in every training; the small ones change the brightness alone."""
    config = PI_CONFIGS[name]
    small = name.endswith("_small")
    assert config.augment != small and (config.brightness > 0) == small
