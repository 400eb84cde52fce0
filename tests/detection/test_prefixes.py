"""Beginnings of own samples in a fit: which there are, where they go, what they are good for."""

from collections import defaultdict

import numpy as np
import pytest
import torch
from torch import nn

import fimetric as fm
from fimetric.calibration.bins import LEAST
from fimetric.data.batch import Batch
from fimetric.detection.grouping import halves
from fimetric.detection.prefixes import SHORTEST, with_prefixes
from fimetric.objectives import CausalLM, MaskedLM, Objective


class Bigrams(nn.Module):
    """Tells the next token by the last one."""

    def __init__(self, tokens: int = 11) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(tokens, 6), nn.Linear(6, tokens)

    def forward(self, tokens):
        return self.head(self.table(tokens).tanh())


def texts(n, seed, longest=64, shortest=None):
    """Return texts that differ in kind: each keeps to some of the tokens."""
    random = np.random.default_rng(seed)
    T = random.integers(shortest or longest, longest + 1, n)
    own = random.integers(2, 12, n)
    rows = [random.integers(0, k, t) for k, t in zip(own, T, strict=True)]
    return [{"input_ids": torch.tensor(row), "id": f"{seed}/{i}"} for i, row in enumerate(rows)]


@pytest.fixture(scope="module")
def objective():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CausalLM(Bigrams())


class Sums(Objective):
    """A loss of clips (N, T) of any length."""

    def __init__(self) -> None:
        model = nn.Conv1d(1, 3, 5, padding=2)
        super().__init__(lambda x: model(x[:, None]).tanh().square().sum((1, 2)), model)


def described(cut):
    """Return sample -> bin -> length of what is there of it."""
    found = defaultdict(dict)
    for row, number in zip(cut, cut.bins, strict=True):
        name = row.ids[0].split("[")[0]
        assert number not in found[name]  # at most one of each sample and bin
        x = row.x["input_ids"] if isinstance(row.x, dict) else row.x
        found[name][int(number)] = x.shape[1]
    return found


def test_prefixes_stay_with_their_sample_one_to_a_bin(objective):
    data = texts(250, 0, 64, 20)
    fit, calibration = with_prefixes(objective, data, None, 3, 1)
    first, second = halves(250, 1, 3)
    assert list(described(fit)) == [f"0/{i}" for i in first]
    assert list(described(calibration)) == [f"0/{i}" for i in second]
    for cut in (fit, calibration):
        for name, lengths in described(cut).items():
            own = len(data[int(name[2:])]["input_ids"])
            assert max(lengths.values()) == own and lengths[max(lengths)] == own
            assert sorted(lengths) == list(range(len(lengths)))  # in all bins up to its own
            assert sorted(lengths.values()) == [lengths[b] for b in sorted(lengths)]
            assert min(lengths.values()) >= SHORTEST
        for row in cut:
            name, _, told = row.ids[0].partition("[:")
            tokens = data[int(name[2:])]["input_ids"]
            stop = int(told[:-1]) if told else len(tokens)
            assert torch.equal(row.x["input_ids"][0], tokens[:stop])
    assert max(fit.bins) == 5 and min(np.bincount(calibration.bins)) >= LEAST
    assert max(calibration.bins) < 4  # the longest are too few for a bin of their own


def test_lengths_are_uniform_in_the_logarithm_and_hang_on_the_seed(objective):
    data = texts(700, 1, 256)
    cuts = [with_prefixes(objective, data, None, seed, 1)[0] for seed in (0, 0, 1)]
    drawn = [sorted(n for row in described(c).values() for n in row.values()) for c in cuts]
    assert drawn[0] == drawn[1] != drawn[2]
    short = np.log(np.array([n for n in drawn[0] if n < 256]))
    shares = np.histogram(short, np.log([8, 16, 32, 64, 128, 256]))[0] / (350 * 5)
    np.testing.assert_allclose(shares, 0.2, atol=0.01)


def test_texts_lose_their_padding_wherever_it_stands():
    tokens = torch.arange(1, 13).repeat(LEAST, 1)
    mask = torch.ones_like(tokens)
    mask[:, [0, 4]] = 0
    x = {"input_ids": tokens, "attention_mask": mask}
    _, cut = with_prefixes(CausalLM(Bigrams(20)), x, x, 0, 1)
    text = torch.tensor([2, 3, 4, 6, 7, 8, 9, 10, 11, 12])
    for row in cut:
        found = row.x["input_ids"][0]
        assert torch.equal(found, text[: len(found)]) and row.x["attention_mask"].all()
    assert {len(row.x["input_ids"][0]) for row in cut} == {8, 9, 10}


@pytest.mark.parametrize("dimensions", [1, 2])
def test_clips_are_cut_in_time(dimensions):
    x = torch.randn(LEAST, *(3,) * (dimensions - 1), 320)
    clips = [Batch(clip[None], [f"c{i}"]) for i, clip in enumerate(x)]
    _, cut = with_prefixes(Sums(), iter(clips), iter(clips), 0, 1)
    lengths = [row.x.shape[-1] for row in cut]
    assert min(lengths) >= 10 and max(lengths) == 320 and len(lengths) == 6 * LEAST
    for row in cut:
        assert torch.equal(row.x[0], x[int(row.ids[0][1:].split("[")[0])][..., : row.x.shape[-1]])


@pytest.fixture(scope="module")
def fitted(objective):
    """Return detectors of texts of 64 tokens, without prefixes and with."""
    data = texts(900, 2)
    plain = fm.Detector(objective, "likelihood").fit(data)
    return plain, fm.Detector(objective, "likelihood").fit(data, prefixes=True)


def test_short_texts_are_judged_rightly_with_prefixes_alone(fitted, caplog):
    plain, detector = fitted
    bins = [len(own) for own in detector.calibration.bins()]
    assert bins == [450] * 6  # that of the whole texts among them
    for T in (12, 24, 48, 64):
        other = [{"input_ids": row["input_ids"][:T]} for row in texts(300, 3)]
        assert 0.03 < detector.predict(other, 0.1).mean() < 0.18, T
        if T < 64:
            assert plain.predict(other, 0.1).mean() < 0.01  # no short text has so high a loss
    assert "shorter or longer" in caplog.text


def test_a_saved_detector_keeps_its_bins(fitted, objective, tmp_path):
    fitted[1].save(tmp_path / "d")
    again = fm.Detector.load(tmp_path / "d", objective)
    np.testing.assert_array_equal(again.calibration.edges, fitted[1].calibration.edges)
    other = texts(40, 4, 64, 8)
    np.testing.assert_array_equal(again.p_value(other), fitted[1].p_value(other))


def test_calibration_data_of_its_own_are_cut_too(objective):
    detector = fm.Detector(objective).fit(texts(60, 5), texts(120, 6), prefixes=True)
    assert [len(own) for own in detector.calibration.bins()] == [120] * 6


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda o: fm.Detector(o).fit(texts(150, 7), prefixes=True), ValueError,
         "needs 99 samples to calibrate on.*there are 75"),
        (lambda o: fm.Detector(o, group_size=2).fit(texts(300, 7), prefixes=True), ValueError,
         "single samples, and group_size is 2"),
        (lambda o: fm.Detector(o).fit(fm.extract(o, texts(9, 7), progress=False), prefixes=True),
         TypeError, "Features hold none; pass the texts"),
        (lambda _: fm.Detector(rows()).fit(torch.randn(300, 4), prefixes=True), ValueError,
         r"these samples are float32 of \(4,\); fit without it"),
        (lambda _: fm.Detector(Sums()).fit(torch.randn(300, 1, 4, 4), prefixes=True), ValueError,
         r"float32 of \(1, 4, 4\)"),
        (lambda o: fm.Detector(o).fit({"input_ids": torch.ones(300, 9).long(),
                                       "weights": torch.ones(300)}, prefixes=True), ValueError,
         "entries input_ids, weights"),
    ],
)  # fmt: skip
def test_what_cannot_be_cut_is_refused(objective, make, error, message):
    with pytest.raises(error, match=message):
        make(objective)


def rows():
    model = nn.Linear(4, 4)
    return Objective(lambda x: model(x).square().sum(1), model)


def test_a_prefix_of_a_masked_models_text_ends_as_every_text_does():
    pytest.importorskip("transformers")
    from objectives.saved_text_models import build, tokenizer

    model = build("bert", "AutoModelForMaskedLM", max_position_embeddings=40)
    objective = MaskedLM(model, tokenizer("masked"), positions=3)
    said = ["a cat " * (7 + i % 2) + str(i % 7) for i in range(LEAST * 2)]
    own, _ = with_prefixes(objective, said, None, 0, 1)
    start, end = (
        {row.x["input_ids"][0, 0].item() for row in own},
        {row.x["input_ids"][0, -1].item() for row in own},
    )
    assert len(start) == len(end) == 1 and start != end
    detector = fm.Detector(objective).fit(said, prefixes=True)
    assert len(detector.calibration.bins()) > 1
