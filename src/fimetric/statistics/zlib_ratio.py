"""How many nats a language model needs for a text, per nat that zlib needs for it."""

from typing import Any

import torch
from torch import Tensor

from fimetric.data.batch import Input
from fimetric.data.codes import text_code
from fimetric.objectives.base import Objective
from fimetric.statistics.base import Statistic
from fimetric.statistics.needs import require_strings


class ZlibRatio(Statistic):
    r"""Creates the loss of a text over the length of its zlib code, L = 8 log 2 times its bytes.

    Repetitive texts are likely whatever they are about, and zlib finds them short too. The columns
    are ``nll/zlib``, :math:`\ell(x) / L(x)`, and ``zlib``, L itself in nats, which
    ``InputComplexity("zlib")`` takes off the loss instead. The paper divides the loss per token by
    the bytes, and so once more by the length: the same order among texts of one length.

    The text is what its tokens spell, a window's part where there is one, so that model and zlib
    read the same; special tokens, such as that in front of a text, are left out.

    Arguments:
        objective: a ``CausalLM`` with a tokenizer.

    Raises:
        TypeError: for another objective, or one without a tokenizer.

    References:
        Extracting Training Data from Large Language Models (Carlini, Tramer, Wallace, Jagielski,
        Herbert-Voss, Lee, Roberts, Brown, Song, Erlingsson, Oprea and Raffel, 2021),
        arXiv:2012.07805
    """

    name = "zlib-ratio"

    def __init__(self, objective: Objective) -> None:
        require_strings(objective, "ZlibRatio")
        super().__init__(objective)

    @property
    def names(self) -> list[str]:
        """``nll/zlib`` and ``zlib``."""
        return ["nll/zlib", "zlib"]

    def measure(self, x: Input) -> Tensor:
        """Return the ratio and the code length in nats, (N, 2), of texts (N, T), in float64."""
        objective: Any = self.objective
        loss = objective(x).double()
        lengths = text_code(objective.strings(x)).to(loss)
        return torch.stack([loss / lengths, lengths], 1)
