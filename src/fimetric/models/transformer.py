"""A causal language model of texts, by the classes of the library transformers.

    log P(x) = sum_t log P(x_t | x_0, ..., x_{t - 1}),     x_0 a token that begins every text

Language Models are Unsupervised Multitask Learners (Radford et al., 2019) has the network, here
without dropout, with a vocabulary of its own that is learned from the training texts.

Tokens that are replaced by random ones while training make a model of what texts of any subject
have in common, the background model of Likelihood Ratios for Out-of-Distribution Detection (Ren et
al., 2019, arXiv:1906.02845). Trained on the same texts it has the same vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from fimetric.data import Samples
from fimetric.data.texts import as_texts
from fimetric.libraries import library
from fimetric.models.family import Model
from fimetric.models.vocabulary import BEGINNING, EXTRA, LEAST, Vocabulary, learned
from fimetric.noise import drawn

PADDING = -1
EMBEDDING, HEAD = "language_model.transformer.wte.weight", "language_model.lm_head.weight"


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a :class:`Transformer`: ``layers`` of ``width``, with ``heads`` of attention.

    ``context`` tokens are seen at once, unless another shape is asked for. Of ``mutation`` is the
    share of tokens that are replaced while training. ``merges`` are the vocabulary, see
    :class:`fimetric.models.vocabulary.Vocabulary`: where there are none, they are learned from the
    training texts, to make ``vocabulary`` tokens at most.
    """

    layers: int = 3
    width: int = 128
    heads: int = 4
    context: int = 512
    vocabulary: int = 1024
    mutation: float = 0.0
    merges: tuple[str, ...] = ()


class Transformer(Model):
    """Creates a language model of texts.

    Token ids x (N, L) have a beginning of text in front, and -1 behind shorter texts. Texts of more
    tokens than the model sees at once are read in stretches, each of which begins with the last
    token of the one before. ``"paper"`` has the sizes of the smallest GPT-2.

    Arguments:
        config: Sizes, see :class:`TransformerConfig`.
        shape: Tokens (T,) that are seen at once.

    Raises:
        ValueError: for settings out of range, or merges that are none.
        ImportError: without the library transformers.
    """

    Config = TransformerConfig
    CONFIGS: ClassVar[dict[str, TransformerConfig]] = {
        "tiny": TransformerConfig(layers=2, width=16, heads=2, context=64, vocabulary=300),
        "small": TransformerConfig(),
        "background": TransformerConfig(layers=2, width=64, heads=2, mutation=0.3),
        "paper": TransformerConfig(12, 768, 12, context=1024, vocabulary=50_257),
    }
    LEARNED = frozenset({"merges"})
    UNIT = "byte"

    def __init__(self, config: TransformerConfig, shape: tuple[int]) -> None:
        """Make the parameters."""
        super().__init__()
        _refuse_unfit(config, shape[0])
        self.config, self.shape = config, shape
        self.vocabulary = Vocabulary(config.merges)
        self.language_model = _gpt2(config, shape[0], self.vocabulary)
        lengths = torch.tensor(self.vocabulary.lengths)
        self.register_buffer("lengths", lengths, persistent=False)
        self.lengths: Tensor
        # The head is the embedding: kept once.
        self.register_state_dict_post_hook(_drop_head)
        self.register_load_state_dict_pre_hook(_tie_head)

    @classmethod
    def fitting(cls, config: Any, samples: Samples) -> tuple[Any, tuple[int, ...]]:
        """Return the configuration with merges, learned from the texts where it has none."""
        merges = config.merges or learned(as_texts(samples).texts, config.vocabulary)
        return replace(config, merges=merges), (config.context,)

    @property
    def tokenizer(self) -> Any:
        """A tokenizer of transformers, which puts the beginning in front of every text."""
        made = library("transformers", EXTRA).PreTrainedTokenizerFast
        return made(
            tokenizer_object=self.vocabulary.tokenizer,
            bos_token=BEGINNING,
            split_special_tokens=True,  # what is written like it in a text is text
        )

    def taken(self, samples: Samples, rows: Sequence[int] | Tensor) -> Tensor:
        """Return the token ids (N, L) of whole texts, -1 behind them."""
        return self.tokens(samples.raw(torch.as_tensor(rows).tolist()))

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Return the token ids (N, L) of texts, with -1 behind them."""
        rows = [torch.tensor(ids) for ids in self.vocabulary.encoded(texts)]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PADDING)

    def texts(self, x: Tensor) -> list[str]:
        """Return the texts of token ids (N, L); what is no UTF-8 becomes U+FFFD."""
        return [self.vocabulary.decoded(row[row != PADDING].tolist()) for row in x]

    def sizes(self, x: Tensor) -> float:
        """Return the mean number of tokens that are predicted at once in training."""
        lengths = (x != PADDING).sum(1).clamp_max(self.shape[0])
        return (lengths - 1).double().mean().item()

    def costs(self, x: Tensor) -> Tensor:
        """Return -log P of each token of x (N, L) but the first, (N, L - 1), 0 at padding."""
        T, found = self.shape[0], []
        for start in range(0, x.shape[1] - 1, T - 1):
            part = x[:, start : start + T]
            logits = self.language_model(part.clamp_min(0)).logits[:, :-1]
            each = F.cross_entropy(
                logits.flatten(0, 1),
                part[:, 1:].flatten(),
                ignore_index=PADDING,
                reduction="none",
            )
            found.append(each.unflatten(0, logits.shape[:2]))
        return torch.cat(found, 1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log probability (N,), in nats, of texts x (N, L)."""
        return -self.costs(x).sum(1)

    def training_losses(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return -log P (N,) in nats of T tokens of each text of x (N, L) in a row, or of all.

        Where a text has more, where they begin is drawn; so is which tokens are replaced.
        """
        x = self._mutated(self._window(x, generator), generator)
        return self.costs(x).sum(1)

    def _window(self, x: Tensor, generator: Generator | None) -> Tensor:
        T = self.shape[0]
        if x.shape[1] <= T:
            return x
        more = ((x != PADDING).sum(1) - T).clamp_min(0)
        start = (drawn("uniform", more.shape, generator).to(x.device) * (more + 1)).long()
        return x.gather(1, start[:, None] + torch.arange(T, device=x.device))

    def _mutated(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return texts with a share of the tokens replaced by others, each as probable."""
        if not self.config.mutation:
            return x
        size = self.vocabulary.beginning
        where = drawn("uniform", x.shape, generator).to(x.device) < self.config.mutation
        step = 1 + (drawn("uniform", x.shape, generator).to(x.device) * (size - 1)).long()
        text = (x != PADDING) & (x != size)
        return torch.where(where & text, (x + step) % size, x)

    def bits_per_dim(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return -log2 P(x) / bytes of UTF-8, (N,), of texts x (N, L); nothing is drawn.

        Per byte, models of several vocabularies and codes such as zlib can be compared.
        """
        size = (self.lengths[x.clamp_min(0)] * (x != PADDING)).sum(1).clamp_min(1)
        return -self.log_prob(x) / (size * math.log(2))

    @torch.no_grad()
    def sample(self, n: int, generator: Generator | None) -> Tensor:
        """Return the token ids (n, T) of draws, which ``texts`` makes strings of.

        A text has no end here: all are of as many tokens as the model sees at once.
        """
        place = self.lengths.device
        uniform = drawn("uniform", (self.shape[0] - 1, n, 1), generator).to(place)
        x = torch.full((n, 1), self.vocabulary.beginning, device=place)
        tokens, cache = [x], None
        for u in uniform:
            out = self.language_model(x, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            shares = out.logits[:, -1].double().softmax(1).cumsum(1)[:, :-1]
            x = (shares <= u).sum(1, keepdim=True)
            tokens.append(x)
        return torch.cat(tokens, 1)


def _gpt2(config: TransformerConfig, context: int, vocabulary: Vocabulary) -> nn.Module:
    transformers = library("transformers", EXTRA)
    none = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    told = transformers.GPT2Config(
        vocab_size=len(vocabulary),
        n_positions=context,
        n_embd=config.width,
        n_layer=config.layers,
        n_head=config.heads,
        bos_token_id=vocabulary.beginning,
        eos_token_id=vocabulary.beginning,
        use_cache=False,
        **none,
    )
    made: nn.Module = transformers.GPT2LMHeadModel(told)
    return made


def _refuse_unfit(config: TransformerConfig, context: int) -> None:
    """Refuse settings out of range.

    Raises:
        ValueError: naming the setting.
    """
    if context < 2:
        raise ValueError(f"a language model sees 2 tokens at least, got {context}")
    if config.vocabulary < LEAST:
        raise ValueError(f"vocabulary must be at least {LEAST}, got {config.vocabulary}")
    if not 0 <= config.mutation < 1:
        raise ValueError(f"mutation must be in [0, 1), got {config.mutation}")


def _drop_head(
    module: nn.Module, state: dict[str, Tensor], prefix: str, metadata: dict[str, Any]
) -> None:
    state.pop(prefix + HEAD, None)


def _tie_head(module: nn.Module, state: dict[str, Tensor], prefix: str, *others: Any) -> None:
    if prefix + EMBEDDING in state:
        state[prefix + HEAD] = state[prefix + EMBEDDING]
