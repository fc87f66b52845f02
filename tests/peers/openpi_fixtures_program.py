"""Writes what openpi's own PyTorch files compute, for tests that run without these files.

    openpi_fixtures_program.py FOLDER COMMIT OUTPUT

FOLDER is one of openpi's repository at COMMIT, and OUTPUT gets NAME.npz for each family and each
served policy, `texts.npz` and `images.npz`. For an interpreter of the environment openpi-torch
(`tests/peers/install openpi-torch`). Weights and inputs follow from names and seeds
(`key_weights`, `openpi_cases`), so the files hold results alone.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import transformers
from torch import Tensor

from holdfast.policy.pi0.architecture import FlowFamily
from holdfast.policy.pi0.checkpoint_layout import PROMPT_TOKENS
from holdfast.policy.pi0.tensor_names import WORDS, WORDS_OUT
from holdfast.tests.peers import openpi_cases as cases
from holdfast.tests.peers.key_weights import weights_of
from holdfast.tests.peers.small_pi0 import BATCH, EULER_STEPS, TASKS, TRAINED, inputs, states
from holdfast.tests.peers.small_pi_checkpoint import trained_pieces
from holdfast.tools.bench.peers.openpi_files import OpenpiFiles, openpi_files
from holdfast.tools.bench.peers.openpi_pi0 import model_of, observation_of

torch.set_num_threads(1)


def weighted(files: OpenpiFiles, family: FlowFamily) -> Any:
    """The model with weights by name."""
    model = model_of(files, TRAINED[family])
    torch.set_float32_matmul_precision("highest")  # openpi's model lowers it.
    with torch.no_grad():
        for key, value in model.state_dict().items():
            named = WORDS if key == WORDS_OUT else key
            value.copy_(torch.from_numpy(weights_of(named, tuple(value.shape))))
    return model


def computed(files: OpenpiFiles, model: Any, family: FlowFamily) -> dict[str, Tensor]:
    """An image's tokens, a block, the prefix's cache of the last layer, a velocity, a chunk and the
    loss."""
    given = {name: torch.from_numpy(value) for name, value in inputs(family).items()}
    views = [given["left"], given["right"]]
    text = given["tokens"], given["token_counts"]
    embedded, counts, attends = model.embed_prefix(
        views, list(given["image_counts"].unbind(1)), *text
    )
    seen = files.network.make_att_2d_masks(counts, attends)
    mask = model._prepare_attention_masks_4d(seen)
    positions = torch.cumsum(counts, dim=1) - 1
    whole = model.paligemma_with_expert
    language = whole.paligemma.language_model
    language.config._attn_implementation = "eager"
    rotation = language.rotary_emb(embedded, positions)
    block = language.layers[0](embedded, attention_mask=mask, position_embeddings=rotation)
    _, cache = whole.forward(
        attention_mask=mask,
        position_ids=positions,
        past_key_values=None,
        inputs_embeds=[embedded, None],
        use_cache=True,
    )
    keys, values = cache[len(language.layers) - 1]
    observation = observation_of(views, given["image_counts"], *text, given["state"])
    time = torch.full((BATCH,), 0.7)
    velocity = model.denoise_step(given["state"], counts, cache, given["noise"], time)
    chunk = model.sample_actions("cpu", observation, noise=given["noise"], num_steps=EULER_STEPS)
    training = {k: torch.from_numpy(v) for k, v in cases.loss_inputs(family).items()}
    prepare = files.preparation.preprocess_observation_pytorch

    def unchanged(observation: Any, *, train: bool) -> Any:
        """Without the random changes to the images that training makes."""
        assert train
        return prepare(observation, train=False)

    with mock.patch.object(files.preparation, "preprocess_observation_pytorch", unchanged):
        loss = model(observation, training["actions"], given["noise"], training["time"])
    return {
        "image": whole.embed_image(given["left"]),
        "embedded": embedded[:, -text[0].shape[1] :],
        "block": block[0],
        "keys": keys,
        "values": values,
        "velocity": velocity,
        "chunk": chunk,
        "loss": loss,
    }


def tokenizer_of(kind: str, length: int, model: Path) -> Any:
    """openpi's tokenizer, with a small vocabulary in place of the one that it downloads."""
    module = importlib.import_module("openpi.models.tokenizer")
    with (
        mock.patch.object(module.download, "maybe_download", return_value=model),
        mock.patch.object(module, "AutoProcessor"),
    ):
        return getattr(module, kind)(length)


def tokens(vocabulary: Path) -> dict[str, Any]:
    """The tokens of tasks with and without states, of which the mask says how many count."""
    made: dict[str, Any] = {"vocabulary": np.frombuffer(vocabulary.read_bytes(), np.uint8)}
    for family in cases.FAMILIES:
        tokenizer = tokenizer_of("PaligemmaTokenizer", PROMPT_TOKENS[family], vocabulary)
        for k, (task, state) in enumerate(zip(TASKS, states(), strict=True)):
            found, counts = tokenizer.tokenize(task, state if family == "pi05" else None)
            made[f"{family}.{k}"] = found[counts]
    fast = tokenizer_of("FASTTokenizer", PROMPT_TOKENS["pi0_fast"], vocabulary)
    for k, (task, state) in enumerate(zip(TASKS, states(), strict=True)):
        found, counts, attends, _ = fast.tokenize(task, state, None)
        assert not attends.any()
        made[f"pi0_fast.{k}"] = found[counts]
    return made


def images() -> dict[str, Any]:
    """An image of another shape at the model's size, and every value of a byte as the model has
    it."""
    transforms = importlib.import_module("openpi.transforms")
    observation = importlib.import_module("openpi.models.model").Observation
    side = TRAINED["pi0"].vision.pixels
    given = {"image": {"base_0_rgb": cases.requests()[0].image}}
    resized = transforms.ResizeImages(side, side)(given)["image"]["base_0_rgb"]
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(-1, -1, -1, 3)
    data = {
        "image": {"base_0_rgb": ramp},
        "image_mask": {"base_0_rgb": torch.ones(1, dtype=torch.bool)},
        "state": torch.zeros(1, 32),
    }
    return {"resized": resized, "ramp": observation.from_dict(data).images["base_0_rgb"][0, 0]}


def served(model: Any, name: str, vocabulary: Path) -> dict[str, Any]:
    """The robot's actions, by openpi's own policy and steps, in the order of its
    `create_trained_policy`."""
    transforms = importlib.import_module("openpi.transforms")
    libero = importlib.import_module("openpi.policies.libero_policy")
    kind = importlib.import_module("openpi.models.model").ModelType
    normalize = importlib.import_module("openpi.shared.normalize")
    family, reads_state = cases.SERVED[name]
    sizes = TRAINED[family]
    stats = {
        key: normalize.NormStats(*(np.array(x) for x in (s.mean, s.std, s.q01, s.q99)))
        for key, s in cases.STATS.items()
    }
    quantiles = family != "pi0"
    tokenizer = tokenizer_of("PaligemmaTokenizer", PROMPT_TOKENS[family], vocabulary)
    policy = importlib.import_module("openpi.policies.policy").Policy(
        model,
        transforms=[
            libero.LiberoInputs(kind.PI05 if family == "pi05" else kind.PI0),
            transforms.Normalize(stats, use_quantiles=quantiles),
            transforms.ResizeImages(sizes.vision.pixels, sizes.vision.pixels),
            transforms.TokenizePrompt(tokenizer, discrete_state_input=reads_state),
            transforms.PadStatesAndActions(sizes.actions),
        ],
        output_transforms=[
            transforms.Unnormalize(stats, use_quantiles=quantiles),
            libero.LiberoOutputs(),
        ],
        sample_kwargs={"num_steps": EULER_STEPS},
        is_pytorch=True,
    )
    shape = (1, sizes.steps, sizes.actions)
    made = []
    for request in cases.requests():
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(request.seed))
        asked = {
            "observation/image": request.image,
            "observation/wrist_image": request.wrist_image,
            "observation/state": request.state,
            "prompt": request.prompt,
        }
        made.append(policy.infer(asked, noise=noise.numpy())["actions"])
    return {"actions": np.stack(made).astype(np.float32)}


def main(folder: Path, commit: str, output: Path) -> None:
    files = openpi_files(folder)
    output.mkdir(parents=True, exist_ok=True)
    vocabulary = output / "vocabulary.model"
    vocabulary.write_bytes(trained_pieces())
    made: dict[str, dict[str, Any]] = {"texts": tokens(vocabulary), "images": images()}
    for family in cases.FAMILIES:
        model = weighted(files, family)
        with torch.no_grad():
            made[family] = {k: v.numpy() for k, v in computed(files, model, family).items()}
        made[family]["names"] = np.array(sorted(model.state_dict()))
        for name, (of, _) in cases.SERVED.items():
            if of == family:
                made[f"served_{name}"] = served(model, name, vocabulary)
    vocabulary.unlink()
    source = f"openpi {commit}, torch {torch.__version__}, transformers {transformers.__version__}"
    for name, arrays in made.items():
        np.savez_compressed(output / f"{name}.npz", source=np.array(source), **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
