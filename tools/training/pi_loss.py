"""`PiLoss`: the network of π0 or π0.5 with its loss, as one module: what is sharded is called
whole."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...policy.pi0.answer_loss import answer_loss
from ...policy.pi0.flow_loss import flow_loss, insulated, repeated, training_times
from ...policy.pi0.image_preparation import prepared
from ...policy.pi0.pi_network import PiNetwork
from .pi_batches import PAD
from .training_batch import TrainingBatch


class PiLoss(nn.Module):
    """Of a batch: what is differentiated, and the metrics without gradients.

    Images and text are computed once for the `looks` noisy chunks of a sample. With `prefixed`,
    chunks have a given prefix. With `insulate`, gradients of the flow end at the expert, and the
    language model learns from the batch's answers, if it has some, which weigh `token_weight`.
    """

    def __init__(
        self,
        network: PiNetwork,
        looks: int,
        *,
        prefixed: bool,
        insulate: bool = False,
        token_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.network, self.looks = network, looks
        self.prefixed, self.insulate, self.token_weight = prefixed, insulate, token_weight

    def forward(self, batch: TrainingBatch) -> tuple[Tensor, dict[str, Tensor]]:
        pixels = self.network.architecture.vision.pixels
        images = [prepared(image, pixels) for image in batch.images]
        views = torch.ones(
            len(batch.tokens), len(images), dtype=torch.bool, device=batch.tokens.device
        )
        prefix = self.network.prefix(images, views, batch.tokens, batch.tokens != PAD)
        seen = insulated(prefix) if self.insulate else prefix
        loss = batch.share * flow_loss(
            self.network,
            repeated(seen, self.looks),
            batch.state.repeat_interleave(self.looks, dim=0),
            batch.chunk,
            batch.given if self.prefixed else None,
            batch.counts,
            training_times(batch.time),
            batch.noise,
        )
        metrics = {"loss": loss.detach()}
        if batch.answer is None:
            return loss, metrics
        words = batch.answer_share * answer_loss(self.network, prefix, batch.answer, PAD)
        return loss + self.token_weight * words, {**metrics, "words": words.detach()}
