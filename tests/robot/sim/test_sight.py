"""Where a parcel is in a picture."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.robot.sim.cell import ConveyorCell
from holdfast.robot.sim.draw import draw_scene, sight
from holdfast.robot.sim.expert import Expert
from holdfast.robot.sim.look import PARCEL_RGB


def hue(rgb: np.ndarray) -> np.ndarray:
    """A colour without its grey, of length 1: light and shadow leave it as it is."""
    pure = np.asarray(rgb, float) - np.min(rgb)
    return np.asarray(pure / np.linalg.norm(pure))


@pytest.mark.parametrize(("camera", "least"), [("overhead", 0.75), ("wrist", 0.9)])
def test_a_parcel_s_colour_is_where_its_sight_is(camera: str, least: float) -> None:
    """Waiting, riding and held: the pixels at `sight` have the parcel's hue unless it is hidden."""
    expert, cell = Expert(), ConveyorCell(4)
    seen: list[bool] = []
    while cell.tried < 3:
        scene = cell.truth
        if scene.episode_steps % 16 == 0:
            picture = draw_scene(camera, scene)
            for index, parcel in enumerate(scene.parcels):
                u, v = sight(camera, scene, index)
                if max(abs(u), abs(v)) < 0.95:
                    x, y = int((u + 1) * 320), int((v + 1) * 240)
                    patch = picture[y - 3 : y + 4, x - 3 : x + 4].reshape(-1, 3).mean(0)
                    likeness = [hue(patch) @ hue(np.array(rgb)) for rgb in PARCEL_RGB]
                    seen.append(int(np.argmax(likeness)) == parcel.colour)
        cell.step_control(expert.act(cell))
    assert len(seen) > 25
    assert np.mean(seen) > least
