"""An objective of texts that makes its tokens itself, one a letter."""

import torch
from torch import nn

from fimetric.objectives import Objective


class Letters(Objective):
    """Minus the log probability of the letters of texts, each by itself."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(self.forward, module)

    def prepare(self, samples):
        codes = [torch.tensor([ord(c) for c in text]) for text in samples]
        tokens = nn.utils.rnn.pad_sequence(codes, batch_first=True)
        mask = nn.utils.rnn.pad_sequence([torch.ones_like(x) for x in codes], batch_first=True)
        return {"input_ids": tokens, "attention_mask": mask}

    def forward(self, batch):
        logits = self.module(batch["input_ids"]).log_softmax(-1)
        said = logits.gather(-1, batch["input_ids"][..., None])[..., 0]
        return -(said * batch["attention_mask"]).sum(1)
