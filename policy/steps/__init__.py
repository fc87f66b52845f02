"""The data of openpi's models as steps that compose, for training and inference (no torch).

data_step        one change of the data, and a pair of both ways
repack           a dataset's keys to a robot's
delta_actions    actions as differences from the state
prompts          the default instruction
image_slots      cameras in a model's places, with masks
resize_with_pad  images at a model's size (bilinear: as Pillow)
padding          states and actions at a model's size
normalization    z-score and quantile, by openpi's or LeRobot's formulas
stats_files      the statistics in the files of both
running_stats    the statistics of a dataset, seen once
robot_keys       the keys of a kind of robot, and what its actions are
embodiment       the same with its steps
aloha, droid, libero  the embodiments that ship
embodiments      embodiments by name
key_paths        values within nested data

docs/openpi-data.md has an example.
"""

from __future__ import annotations

from ..normalize import Stats
from .aloha import AlohaInputs, AlohaOutputs, aloha
from .data_step import Data, DataStep, StepPair
from .delta_actions import AbsoluteActions, DeltaActions, bool_mask
from .droid import DroidInputs, droid
from .embodiment import Embodiment, Family
from .embodiments import embodiment_of, register, registered
from .image_slots import ImageSlots
from .libero import LiberoInputs, libero
from .normalization import NormalizeKeys, UnnormalizeKeys
from .padding import CutActions, PadToModel
from .prompts import DefaultPrompt, PromptOfTask
from .repack import Repack
from .resize_with_pad import ResizeImages, resize_with_pad
from .robot_keys import RobotKeys
from .running_stats import RunningStats
from .stats_files import read_norm_stats, write_norm_stats

__all__ = [
    "AbsoluteActions",
    "AlohaInputs",
    "AlohaOutputs",
    "CutActions",
    "Data",
    "DataStep",
    "DefaultPrompt",
    "DeltaActions",
    "DroidInputs",
    "Embodiment",
    "Family",
    "ImageSlots",
    "LiberoInputs",
    "NormalizeKeys",
    "PadToModel",
    "PromptOfTask",
    "Repack",
    "ResizeImages",
    "RobotKeys",
    "RunningStats",
    "Stats",
    "StepPair",
    "UnnormalizeKeys",
    "aloha",
    "bool_mask",
    "droid",
    "embodiment_of",
    "libero",
    "read_norm_stats",
    "register",
    "registered",
    "resize_with_pad",
    "write_norm_stats",
]
