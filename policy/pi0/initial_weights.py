"""Random weights from which a network of π0 or π0.5 learns.

Source: openpi 15a9616, `src/openpi/models/gemma.py` (`Embedder`, `RMSNorm`), `siglip.py`. What is
not named here has torch's own initialization.
"""

from __future__ import annotations

from torch import nn

from .gemma import RmsNorm
from .pi_network import PiNetwork


def initialize(network: PiNetwork) -> None:
    """Words of a size that pixels can compete with, and layers of π0.5's expert that change nothing
    until they have learned when."""
    nn.init.normal_(network.words.weight, std=network.words.embedding_dim**-0.5)
    places = network.vision.places
    nn.init.normal_(places.weight, std=places.embedding_dim**-0.5)
    for module in network.modules():
        if isinstance(module, RmsNorm) and module.modulate is not None:
            nn.init.zeros_(module.modulate.weight)
            nn.init.zeros_(module.modulate.bias)
