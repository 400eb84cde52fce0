"""How much less likely a text is to a language model than to one of texts in general."""

from torch import Tensor

from fimetric.data.batch import Input, to_device
from fimetric.data.keys import MASK, TOKENS
from fimetric.objectives import CausalLM
from fimetric.objectives.texts import texts_of
from fimetric.statistics.base import Statistic
from fimetric.statistics.members import Members
from fimetric.statistics.needs import require_causal, require_strings


class LikelihoodRatio(Statistic):
    r"""Creates the loss of a text less that of a background model, in nats per token.

    .. math:: r(x) = \tfrac1T (\ell(x) - \ell_0(x))

    in the one column ``ratio``; T is the number of tokens that the model itself predicts. What
    makes a text likely to any model, such as few and common words, is taken off. Background models
    may be trained on texts in general, or as in the paper on own texts with random changes, but not
    on the foreign data that it is tested on.

    Models with one tokenizer get the same tokens. Else the background model's tokenizer reads what
    the tokens of the first spell; the first token of each model is given and not predicted, so let
    either both or neither put one in front of a text.

    Arguments:
        objective: a ``CausalLM``; its window counts for both.
        background: another one, on the same device.

    Raises:
        TypeError: for other objectives, or where the tokenizers differ and one is not there.
        ValueError: for a background with a window.

    References:
        Likelihood Ratios for Out-of-Distribution Detection (Ren, Liu, Fertig, Snoek, Poplin,
        DePristo, Dillon and Lakshminarayanan, 2019), arXiv:1906.02845
    """

    name = "likelihood-ratio"

    def __init__(self, objective: CausalLM, background: CausalLM) -> None:
        self._same = _one_tokenizer(objective, background)
        if background.window is not None:
            raise ValueError(
                f"the background cuts texts to {background.window} tokens, and would be asked of "
                "other texts than the model; leave its window out, that of the model counts"
            )
        super().__init__(Members([objective, background]))
        self.model, self.background = objective, background

    @property
    def names(self) -> list[str]:
        """``ratio``."""
        return ["ratio"]

    def measure(self, x: Input) -> Tensor:
        """Return the ratio (N, 1) of texts (N, T), in float64."""
        given = to_device(self._for_background(x), next(self.background.module.parameters()).device)
        loss = self.model(x).double()
        ratio = loss - self.background(given).to(loss)
        return (ratio / self.model.dimensions(x).to(loss))[:, None]

    def _for_background(self, x: Input) -> Input:
        """Return texts as the background model takes them."""
        if not self._same:
            return self.background.prepare(self.model.strings(x))
        texts = texts_of(x).cut(self.model.window)
        return {TOKENS: texts.tokens, MASK: texts.mask.long()}


def _one_tokenizer(objective: CausalLM, background: CausalLM) -> bool:
    """Return whether two models have one tokenizer, or none, and so take the same tokens.

    Raises:
        TypeError: where that is not so, and one is not there.
    """
    for each in (objective, background):
        require_causal(each, "LikelihoodRatio")
    digests = [each.settings().get("tokenizer") for each in (objective, background)]
    if digests[0] == digests[1]:
        return True
    for each in (objective, background):
        require_strings(each, "LikelihoodRatio of models with different tokenizers")
    return False
