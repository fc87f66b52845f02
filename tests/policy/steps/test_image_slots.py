"""A robot's cameras in the places of a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from holdfast.errors import StepError
from holdfast.policy.steps import ImageSlots
from holdfast.policy.steps.image_slots import as_pixels

TOP = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)


def test_slots_are_filled_by_paths_and_empty_ones_are_black() -> None:
    """An optional camera that is absent, and a slot of no camera, are masked; the rest is kept."""
    step = ImageSlots(
        {"base": "images/top", "left": "images/left", "right": None}, ("images/left",)
    )
    data = {"images": {"top": TOP}, "state": 1, "actions": 2, "prompt": "x", "index": 3}
    made = step(data)
    assert set(made) == {"image", "image_mask", "state", "actions", "prompt"}
    assert made["image"]["base"] is TOP
    for slot in ("left", "right"):
        assert made["image"][slot].shape == TOP.shape
        assert not made["image"][slot].any()
    assert made["image_mask"] == {"base": True, "left": False, "right": False}
    assert isinstance(made["image_mask"]["left"], np.bool_)


def test_an_empty_slot_may_be_seen() -> None:
    """π0-FAST is trained with black images that are not masked."""
    made = ImageSlots({"base": "top", "right": None}, mask_empty=False)({"top": TOP})
    assert made["image_mask"] == {"base": True, "right": True}


def test_an_image_is_read_in_every_form_that_openpi_reads() -> None:
    """Floating from 0 to 1 is rounded down; a first dimension of 3 holds the channels."""
    first = TOP.transpose(2, 0, 1)
    for image in (TOP, first, first.astype(np.float32) / 255 + 1e-4):
        assert np.array_equal(as_pixels(image, "top", "test"), TOP)
    assert np.array_equal(as_pixels(np.array([[[0.999, 0.5, 0]]]), "x", "t"), [[[254, 127, 0]]])


@pytest.mark.parametrize(
    ("image", "channels", "why"),
    [
        ("x", "any", "'top' is str, expected an image"),
        (np.zeros((6, 8), np.uint8), "any", r"uint8\[6, 8\], expected an image"),
        (np.zeros((6, 8, 3), np.int64), "any", "int64"),
        (np.zeros((6, 8, 4), np.uint8), "any", r"expected 3 channels \(any\)"),
        (TOP, "first", r"expected 3 channels \(first\)"),
        (TOP.transpose(2, 0, 1), "last", r"expected 3 channels \(last\)"),
    ],
)
def test_what_is_no_image_is_an_error(image: Any, channels: Any, why: str) -> None:
    """It has the path and what was there."""
    with pytest.raises(StepError, match=why):
        ImageSlots({"base": "top"}, channels=channels)({"top": image})


def test_cameras_that_the_robot_cannot_have_are_refused() -> None:
    """Below `within` only those that are allowed; a camera that is needed and absent is named."""
    step = ImageSlots({"base": "images/top"}, within="images", allowed=("images/top", "images/low"))
    step({"images": {"top": TOP, "low": TOP}})
    with pytest.raises(
        StepError, match=r"'images/tpo' is uint8.*, expected images of top, low only"
    ):
        step({"images": {"top": TOP, "tpo": TOP}})
    with pytest.raises(StepError, match="there is no 'images/top'; there is images/low"):
        step({"images": {"low": TOP}})
