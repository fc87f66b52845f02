"""The cameras: what can be seen, in which channel, and how the pictures vary."""

import time

import cv2
import numpy as np
import pytest

from holdfast.errors import RobotError
from holdfast.robot.sim import draw as drawing
from holdfast.robot.sim.cell import BIN_X, ConveyorCell, place_of
from holdfast.robot.sim.draw import CAMERAS, draw
from holdfast.robot.sim.expert import Expert
from holdfast.robot.sim.look import TEXELS
from holdfast.robot.sim.task import COLOURS


def overhead_pixel(x: float, y: float) -> tuple[int, int]:
    """Row and column of a point on the belt, in a 640×480 overhead picture."""
    return round(240 - y * TEXELS), round(320 + x * TEXELS)


def hue_of(rgb: np.ndarray) -> str:
    """Which of the parcels' colours `rgb` is nearest to, lighting aside."""
    r, g, b = (float(v) for v in rgb)
    if r > 1.6 * b and g > 1.6 * b:
        return "yellow"
    return ("red", "green", "blue")[int(np.argmax((r, g, b)))]


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_picture_is_rgb_of_the_size_asked_for(camera: str) -> None:
    """uint8 [height, width, 3], contiguous and the caller's own."""
    for width, height in ((640, 480), (320, 240)):
        image = draw(camera, ConveyorCell(0).scene(), width, height)
        assert image.shape == (height, width, 3) and image.dtype == np.uint8
        assert image.flags.c_contiguous and image.flags.writeable and image.flags.owndata


@pytest.mark.parametrize("seed", range(8))
def test_every_parcel_shows_its_colour_where_it_lies(seed: int) -> None:
    """In RGB order, under any light, through noise."""
    cell = ConveyorCell(seed)
    away = cell.truth
    away.position[:2] = [BIN_X[0], -0.25]  # the arm hides nothing
    image = draw("overhead", cell.scene(), frame=seed)
    seen = 0
    for index, parcel in enumerate(away.parcels):
        x, y, yaw = place_of(away, index)
        if y > 0.30:
            continue
        # Off the tape and the label: a point at the side and towards the lower end.
        u, v = 0.014, -0.015
        at = x + u * np.cos(yaw) - v * np.sin(yaw), y + u * np.sin(yaw) + v * np.cos(yaw)
        row, column = overhead_pixel(*at)
        patch = image[row - 2 : row + 3, column - 2 : column + 3].reshape(-1, 3).mean(axis=0)
        assert hue_of(patch) == COLOURS[parcel.colour]
        seen += 1
    assert seen >= 2


def test_the_wrist_camera_moves_with_the_arm_and_zooms_with_its_height() -> None:
    """A parcel right below is in the middle, and looks larger from nearby."""
    cell = ConveyorCell(1)
    scene = cell.truth
    scene.colour = 0
    scene.parcels = [scene.parcels[0]._replace(colour=0, x=0.05, along=scene.travel, yaw=0.0)]
    areas = []
    for z in (0.2, 0.02):
        scene.position = [0.05, 0.0, z, 0.0, 1.0]
        image = draw("wrist", cell.scene()).astype(int)
        red = (image[..., 0] > 1.8 * image[..., 1]) & (image[..., 0] > 1.8 * image[..., 2])
        rows, columns = np.nonzero(red)
        assert abs(np.median(rows) - 240) < 40 and abs(np.median(columns) - 320) < 25
        areas.append(red.sum())
    assert areas[1] > 1.5 * areas[0]


def test_a_held_parcel_is_seen_between_the_fingers() -> None:
    """Lifted off the belt it fills the middle of the wrist camera's view."""
    cell, expert = ConveyorCell(5), Expert()
    while cell.truth.held < 0 or cell.state()[2] < 0.1:
        cell.step_control(expert.act(cell))
    image = draw("wrist", cell.scene())
    colour = COLOURS[cell.truth.parcels[cell.truth.held].colour]
    assert hue_of(image[300:320, 330:350].reshape(-1, 3).mean(axis=0)) == colour


def test_the_same_frame_is_the_same_picture_and_another_has_other_noise() -> None:
    """Noise depends on the frame number and nothing else that is hidden."""
    scene = ConveyorCell(2).scene()
    for camera in CAMERAS:
        one = draw(camera, scene, frame=5)
        np.testing.assert_array_equal(one, draw(camera, scene, frame=5))
        other = draw(camera, scene, frame=6)
        difference = np.abs(one.astype(int) - other)
        assert 2 < difference.mean() < 12 and (difference > 0).mean() > 0.7


def test_the_light_changes() -> None:
    """Within a minute, by more than the noise does, on the table where nothing moves."""
    cell = ConveyorCell(2)
    means = []
    for _ in range(12):
        means.append(draw("overhead", cell.scene())[400:, :150].mean())
        for _ in range(150):
            cell.step_control()
    assert max(means) - min(means) > 8


def test_the_belt_texture_moves_with_the_belt() -> None:
    """By as many pixels as it travelled, down the picture."""
    cell = ConveyorCell(3)
    cell.truth.parcels = [p._replace(along=p.along + 1) for p in cell.truth.parcels]
    cell.truth.position[:2] = [BIN_X[0], 0.3]
    before = draw("overhead", cell.scene())[200:300, 260:380].astype(np.float32)
    start = cell.truth.travel
    for _ in range(20):
        cell.step()
    moved = round((cell.truth.travel - start) * TEXELS)
    assert moved >= 5
    after = draw("overhead", cell.scene(), frame=1).astype(np.float32)
    found = cv2.matchTemplate(after[150:400, 260:380], before, cv2.TM_CCOEFF_NORMED)
    assert abs(int(np.argmax(found)) - 50 - moved) <= 1


def test_the_arm_is_drawn_and_hides_what_is_below() -> None:
    """The picture around it changes when it moves away."""
    cell = ConveyorCell(4)
    here = draw("overhead", cell.scene())
    cell.truth.position[:2] = [BIN_X[1], -0.2]
    gone = draw("overhead", cell.scene())
    row, column = overhead_pixel(0.0, 0.20)
    change = np.abs(here.astype(int) - gone)[row - 40 : row + 40, column - 60 : column + 60]
    assert (change.max(axis=2) > 40).mean() > 0.1


def test_drawing_survives_any_pose_of_the_arm() -> None:
    """At every corner of the workspace the wrist picture is whole."""
    cell = ConveyorCell(4)
    for x in (-0.42, 0.42):
        for y in (-0.32, 0.30):
            for z in (0.0, 0.25):
                cell.truth.position = [x, y, z, 1.2, 0.5]
                assert draw("wrist", cell.scene()).shape == (480, 640, 3)


def test_an_unknown_camera_is_refused() -> None:
    """The message names those that exist."""
    with pytest.raises(RobotError, match="overhead, wrist"):
        draw("side", ConveyorCell(0).scene())


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_picture_is_drawn_quickly(camera: str) -> None:
    """In less of one core's time than 2.5 encodings of such a picture as JPEG: the best of many."""
    # That is 4 ms (the target is 2) on a machine that encodes one in 1.6 ms.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    try:
        cell, best, encoded = ConveyorCell(0), 1.0, 1.0
        for frame in range(60):
            scene = cell.scene()
            start = time.thread_time()
            draw(camera, scene, frame=frame)
            drawn = time.thread_time()
            cv2.imencode(".jpg", noise)
            best, encoded = min(best, drawn - start), min(encoded, time.thread_time() - drawn)
            cell.step_control()
    finally:
        cv2.setNumThreads(threads)
    assert best < 2.5 * encoded


def test_the_hash_behind_light_and_noise_is_spread_evenly() -> None:
    """Its values lie in [0, 1), differ, and have a mean near one half."""
    values = np.array([drawing._chance(seed, k) for seed in range(40) for k in range(40)])
    assert values.min() >= 0 and values.max() < 1
    assert abs(values.mean() - 0.5) < 0.03 and len(set(values)) == len(values)
