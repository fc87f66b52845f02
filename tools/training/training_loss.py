"""`TrainingLoss`: the network with its loss, as one module: what is sharded is called whole."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...policy.encoder import Clues, EncodingNetwork
from .dataset import AUXILIARY_SCALE
from .training_batch import GroundTruth, TrainingBatch


class TrainingLoss(nn.Module):
    """Of a batch: what is differentiated, and the metrics without gradients."""

    def __init__(self, network: EncodingNetwork, looks: int) -> None:
        super().__init__()
        self.network, self.looks = network, looks

    def forward(self, batch: TrainingBatch) -> tuple[Tensor, dict[str, Tensor]]:
        seen, clues = self.network.observe(batch.images, batch.state, batch.tokens)
        loss = batch.share * self.network.loss(
            seen.repeat_interleave(self.looks, dim=0),
            batch.chunk,
            batch.given,
            batch.counts,
            batch.time,
            batch.noise,
        )
        metrics = {"loss": loss.detach()}
        if batch.truth is None:
            return loss, metrics
        truth = batch.truth
        auxiliary, error_mm = place_loss(clues, truth)
        finding, found = finding_loss(clues, truth)
        metrics |= {
            "auxiliary": auxiliary.detach(),
            "finding": finding.detach(),
            "found": found,
            "target_error_mm": error_mm,
        }
        total = loss + truth.auxiliary_weight * auxiliary + truth.finding_weight * finding
        return total, metrics


def place_loss(clues: Clues, truth: GroundTruth) -> tuple[Tensor, Tensor]:
    """The loss of the predicted places, and the mean error of the target's position, mm. Only
    visible targets count, except for the last place, which is the visibility."""
    visible = truth.visible.to(truth.places.dtype)[:, None]
    others = truth.places.shape[1] - 1
    weight = torch.cat((visible.expand(-1, others), torch.ones_like(visible)), 1)
    loss = F.smooth_l1_loss(clues.places, truth.places, reduction="none", beta=0.1) * weight
    with torch.no_grad():
        scale = torch.tensor(AUXILIARY_SCALE[:2] * 1000, device=truth.places.device)
        off = (clues.places - truth.places)[:, :2] * scale
        error = (off.norm(dim=1) * visible[:, 0]).sum() / visible.sum().clamp(min=1)
    return loss.mean(), error


def finding_loss(clues: Clues, truth: GroundTruth) -> tuple[Tensor, Tensor]:
    """The cross-entropy of the named object's cell over all cameras, and the accuracy of the first
    camera."""
    pairs = list(zip(clues.maps, truth.cells, strict=True))
    loss = torch.stack([F.cross_entropy(logits, cell) for logits, cell in pairs]).mean()
    logits, cell = pairs[0]
    return loss, (logits.detach().argmax(1) == cell).float().mean()
