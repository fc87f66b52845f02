"""LeRobot's own π0 or π0.5, small, with weights by name: `FAMILY FOLDER` writes its directory as
`save_pretrained` does, and `computed.npz` beside it. For an interpreter with the library."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.policies.common.vla_utils import make_att_2d_masks, prepare_attention_masks_4d

from holdfast.policy.pi0.architecture import Architecture
from holdfast.policy.pi0.tensor_names import WORDS, WORDS_OUT
from holdfast.tests.peers.key_weights import weights_of
from holdfast.tests.peers.small_pi0 import ACTIONS, BATCH, EULER_STEPS, SMALL, TRAINED, inputs
from holdfast.tools.bench.peers.lerobot_pi0 import policy_of


def weighted(sizes: Architecture) -> Any:
    """The library's policy with weights by name."""
    policy = policy_of(sizes, ACTIONS)
    with torch.no_grad():
        for key, value in policy.model.state_dict().items():
            named = WORDS if key == WORDS_OUT else key
            value.copy_(torch.from_numpy(weights_of(named, tuple(value.shape))))
    return policy.eval()


def computed(family: str, model: Any) -> dict[str, torch.Tensor]:
    """An image's tokens, a block, the prefix's cache, a velocity and a chunk."""
    given = {name: torch.from_numpy(value) for name, value in inputs(family).items()}
    views = [given["left"], given["right"]]
    counts = list(given["image_counts"].unbind(1))
    text = given["tokens"], given["token_counts"]
    state = (given["state"],) if family == "pi0" else ()
    named_state = {"state": given["state"]} if family == "pi0" else {}
    embedded, pad, attends = model.embed_prefix(views, counts, *text)
    mask = prepare_attention_masks_4d(make_att_2d_masks(pad, attends))
    whole = model.paligemma_with_expert
    language = whole.paligemma.model.language_model
    language.config._attn_implementation = "eager"
    positions = torch.cumsum(pad, dim=1) - 1
    _, cache = whole.forward(
        attention_mask=mask,
        position_ids=positions,
        past_key_values=None,
        inputs_embeds=[embedded, None],
        use_cache=True,
    )
    block = language.layers[0](
        embedded,
        attention_mask=mask,
        position_embeddings=language.rotary_emb(embedded, positions),
    )
    velocity = model.denoise_step(
        **named_state,
        prefix_pad_masks=pad,
        past_key_values=cache,
        x_t=given["noise"],
        timestep=torch.full((BATCH,), 0.7),
    )
    chunk = model.sample_actions(
        views, counts, *text, *state, noise=given["noise"], num_steps=EULER_STEPS
    )
    layers = [(keys, values) for keys, values, _ in cache]
    return {
        "image": whole.embed_image(given["left"]),
        "embedded": embedded,
        "block": block,
        "keys": torch.stack([keys for keys, _ in layers]),
        "values": torch.stack([values for _, values in layers]),
        "velocity": velocity,
        "chunk": chunk,
    }


def trained(family: str, model: Any) -> dict[str, torch.Tensor]:
    """The loss of each value, and the gradients of their mean, by the names of the weights."""
    given = {name: torch.from_numpy(value) for name, value in inputs(family).items()}
    state = (given["state"],) if family == "pi0" else ()
    losses = model.forward(
        [given["left"], given["right"]],
        list(given["image_counts"].unbind(1)),
        given["tokens"],
        given["token_counts"],
        *state,
        given["chunk"],
        given["noise"],
        given["time"],
    )
    losses.mean().backward()
    gradients = {name: each.grad for name, each in model.named_parameters()}
    return {
        "losses": losses.detach(),
        **{f"gradient {name}": each for name, each in gradients.items() if each is not None},
    }


if __name__ == "__main__":
    FAMILY, FOLDER = sys.argv[1], Path(sys.argv[2])
    POLICY = weighted(SMALL[FAMILY])
    with torch.no_grad():
        RESULTS = computed(FAMILY, POLICY.model)
    RESULTS |= trained(FAMILY, weighted(TRAINED[FAMILY]).model)
    POLICY.save_pretrained(FOLDER)
    ARRAYS: dict[str, Any] = {name: each.numpy() for name, each in RESULTS.items()}
    np.savez(FOLDER / "computed.npz", **ARRAYS)
