"""Perceptrons that multiply in 8 bits."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from holdfast.policy.pi0.float8_linear import Float8Linear, round_perceptrons
from holdfast.tools.bench.pi_sizes import small
from holdfast.tools.bench.random_pi import random_network


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0])
def test_a_rounded_layer_multiplies_as_exactly_as_its_format(
    dtype: torch.dtype, scale: float
) -> None:
    """Within 2^-4 of the product of the magnitudes for rows of any scale: e4m3 has three bits."""
    torch.manual_seed(0)
    linear = nn.Linear(64, 32, bias=False).to(dtype)
    x = (torch.randn(2, 5, 64) * scale).to(dtype)
    product = Float8Linear(linear)(x)
    assert product.shape == (2, 5, 32)
    assert product.dtype == dtype
    weight = linear.weight.detach()
    bound = x.float().abs() @ weight.float().abs().t() / 16
    assert ((product - linear(x)).float().abs() <= bound).all()


def test_a_row_of_zeros_stays_zero() -> None:
    """And does not become NaN by its scale."""
    linear = nn.Linear(16, 16, bias=False)
    assert not Float8Linear(linear)(torch.zeros(3, 16)).any()


def test_the_perceptrons_of_both_transformers_are_replaced_and_nothing_else() -> None:
    """Three layers for each block of the language model and of the expert."""
    network = random_network(small("pi05"), torch.device("cpu"), torch.float32)
    round_perceptrons(network)
    rounded = {name for name, each in network.named_modules() if isinstance(each, Float8Linear)}
    assert rounded == {
        f"{part}.blocks.{k}.{name}"
        for part in ("language", "expert")
        for k in range(4)
        for name in ("gate", "up", "down")
    }
