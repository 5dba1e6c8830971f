"""Random numbers that depend on their purpose, not on earlier draws."""

from __future__ import annotations

import zlib

import numpy as np
import torch


def epoch_generator(seed: int, epoch: int, purpose: str) -> torch.Generator:
    """A CPU generator that is a pure function of its arguments; different purposes give unrelated streams.

    Args:
        seed: of the run, not negative.
        epoch: counted from 0.
        purpose: such as ``order`` or the name of a transform.
    """
    entropy = np.random.SeedSequence([seed, epoch, zlib.crc32(purpose.encode())]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(entropy[0] >> np.uint64(1)))
