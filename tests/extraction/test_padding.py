"""A loss that reads padding depends on the longest text of its batch, and is refused."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fimetric as fm
from fimetric.objectives import Objective
from fimetric.statistics.base import Statistic

RANDOM = np.random.default_rng(0)
LONG = [{"input_ids": RANDOM.integers(1, 64, 12).tolist()} for _ in range(64)]
RAGGED = [{"input_ids": RANDOM.integers(1, 64, n).tolist()} for n in RANDOM.integers(4, 24, 64)]
READS = "changes with the rest of its batch.*or reads the padding behind shorter texts"


class Model(nn.Module):
    def __init__(self, backwards: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enter, self.leave = nn.Embedding(64, 4), nn.Linear(4, 64)
        self.back = nn.GRU(4, 4, batch_first=True) if backwards else None

    def costs(self, tokens):
        h = self.enter(tokens)
        if self.back is not None:  # from the end on, padding first
            h = self.back(h.flip(1))[0].flip(1)
        logits = self.leave(h[:, :-1]).transpose(1, 2)
        return F.cross_entropy(logits, tokens[:, 1:], reduction="none")


def masked(model: Model) -> Objective:
    def loss(batch):
        mask = batch.get("attention_mask", torch.ones_like(batch["input_ids"]))
        return (model.costs(batch["input_ids"]) * mask[:, 1:]).sum(1)

    return Objective(loss, model.eval())


def forgetful(model: Model) -> Objective:
    return Objective(lambda batch: model.costs(batch["input_ids"]).sum(1), model.eval())


def test_a_loss_that_leaves_padding_out_is_that_of_the_text_alone():
    objective = masked(Model())
    together = fm.extract(objective, RAGGED, progress=False)
    alone = [fm.extract(objective, [text], progress=False) for text in RAGGED[:9]]
    found = np.concatenate([each.losses for each in alone])
    np.testing.assert_allclose(together.losses[:9], found, rtol=1e-5)


@pytest.mark.parametrize(
    "objective", [forgetful(Model()), masked(Model(backwards=True))], ids=["loss", "model"]
)
@pytest.mark.parametrize("texts", [RAGGED, LONG + RAGGED], ids=["at once", "later"])
@pytest.mark.parametrize("group_size", [1, 4])
def test_one_that_reads_it_is_refused(objective, texts, group_size):
    with pytest.raises(RuntimeError, match=READS):
        fm.extract(objective, texts, group_size=group_size, progress=False)


def test_padding_of_what_is_scored_is_looked_at_too():
    detector = fm.Detector(forgetful(Model())).fit(LONG)
    for _ in range(2):  # what was refused once is refused again
        with pytest.raises(RuntimeError, match=READS):
            detector.score(RAGGED)


class Letters(Objective):
    """Brings texts to one length without a mask."""

    def prepare(self, samples):
        longest = max(map(len, samples))
        return torch.tensor([[ord(c) % 64 for c in text.ljust(longest)] for text in samples])


def test_texts_that_an_objective_fills_up_are_prepared_alone():
    model = Model().eval()
    letters = Letters(lambda x: model.costs(x).sum(1), model)
    texts = ["".join(chr(97 + t % 26) for t in text["input_ids"]) for text in RAGGED]
    with pytest.raises(RuntimeError, match=READS):
        fm.extract(letters, texts, progress=False)
    assert len(fm.extract(letters, [text[:4] for text in texts], progress=False)) == len(texts)


class Lengths(Statistic):
    name = "lengths"
    names = ("length",)

    def measure(self, x):
        return x["input_ids"].new_full((len(x["input_ids"]), 1), x["input_ids"].shape[1])


@pytest.mark.parametrize("texts", [RAGGED, LONG + RAGGED], ids=["at once", "later"])
def test_a_statistic_that_reads_it_is_refused(texts):
    with pytest.raises(RuntimeError, match=READS):
        Lengths(masked(Model())).features(texts, progress=False)


def padded() -> dict[str, torch.Tensor]:
    tokens = torch.randint(1, 64, (40, 16), generator=torch.Generator().manual_seed(0))
    lengths = torch.randint(5, 16, (40, 1), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(16) < lengths).long()
    return {"input_ids": tokens * mask, "attention_mask": mask, "weights": torch.rand(40, 16)}


def test_entries_of_the_length_of_the_batch_stay_with_it():
    model = Model().eval()

    def weighted(batch):
        weights = batch["weights"][:, 1:] * batch["attention_mask"][:, 1:]
        return (model.costs(batch["input_ids"]) * weights).sum(1)

    assert len(fm.extract(Objective(weighted, model), padded(), progress=False)) == 40


def test_a_model_of_one_length_is_compared_at_that_length():
    model = Model().eval()
    last = nn.Linear(15, 1)

    def fixed(batch):
        costs = model.costs(batch["input_ids"]) * batch["attention_mask"][:, 1:]
        return last(costs).square()[:, 0]

    data = {key: x for key, x in padded().items() if key != "weights"}
    both = nn.ModuleList([model, last]).eval()
    assert len(fm.extract(Objective(fixed, both), data, progress=False)) == 40
