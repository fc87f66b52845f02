"""`Trainee`: what is trained, by kind: a network, its loss, and its weights' names in a
checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...policy.checkpoint import Config
from ...policy.kinds import untrained_network
from ...policy.pi0.architecture import Architecture, FlowFamily
from ...policy.pi0.checkpoint_layout import read_sizes
from ...policy.pi0.initial_weights import initialize
from ...policy.pi0.pi_network import PiNetwork
from ...policy.pi0.pi_settings import settings_of
from ...policy.pi0.pi_weights import load_network
from ...policy.pi0.tensor_names import published_name
from .base_weights import check_base_patterns, load_base
from .name_patterns import included
from .pi_config import PiConfig, family_of
from .pi_loss import PiLoss
from .training_config import OptimizationConfig
from .training_loss import TrainingLoss

CPU, META = torch.device("cpu"), torch.device("meta")


class Trainee(NamedTuple):
    """`loaded` are the names of the weights that a base gave; `family` is None for the kinds whose
    checkpoints have the names of the network."""

    network: nn.Module
    loss: nn.Module
    loaded: list[str]
    family: FlowFamily | None = None

    def named(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The network's weights by their names in a checkpoint."""
        if self.family is None:
            return dict(weights)
        return {published_name(name, self.family): each for name, each in weights.items()}


def trainee_of(
    config: OptimizationConfig, description: Config, device: torch.device = CPU
) -> Trainee:
    """The network that `description` describes, with the weights of the config's base or random
    ones; a π0 or π0.5 on `device`, which is the CPU, or `meta` for its names and sizes alone.
    Raises PolicyError for a network that cannot be built or a base that does not fit."""
    if isinstance(config, PiConfig):
        return _pi(config, description, device)
    network = untrained_network(description)
    loaded = []
    if config.base:
        loaded = load_base(network, config.base, config.base_weights, description.vocabulary)
    return Trainee(network, TrainingLoss(network, config.looks), loaded)


def _pi(config: PiConfig, description: Config, device: torch.device) -> Trainee:
    network, loaded = _begun(config, description, device)
    network.train().requires_grad_(requires_grad=True)
    for part in (network.vision, network.language, network.expert):
        part.recompute = config.recompute
    prefixed = description.spec.prefix == "trained"
    loss = PiLoss(
        network,
        config.looks,
        prefixed=prefixed,
        insulate=config.insulate,
        token_weight=config.token_weight,
    )
    return Trainee(network, loss, loaded, family_of(config))


def _begun(
    config: PiConfig, description: Config, device: torch.device
) -> tuple[PiNetwork, list[str]]:
    """A network with the weights of the base, or without, and the names of the base's."""
    family = family_of(config)
    architecture = settings_of(description).architecture(family, description.spec.chunk_size)
    if not config.base:
        return _random(architecture, device), []
    folder, _ = read_sizes(config.base, family)
    whole = load_network(PiNetwork, folder, architecture, device, torch.float32)
    given = whole.state_dict()
    check_base_patterns(config.base, given, config.base_weights)
    chosen = [name for name in given if included(name, config.base_weights)]
    if len(chosen) == len(given):
        return whole, chosen
    network = _random(architecture, device)
    own = network.state_dict()
    for name in chosen:
        own[name].copy_(given[name])
    return network, chosen


def _random(architecture: Architecture, device: torch.device) -> PiNetwork:
    with device:
        network = PiNetwork(architecture)
    initialize(network)
    return network
