"""What a sample looks like: the convention is learned, and only another convention is refused."""

import dataclasses
import json
import logging

import numpy as np
import pytest
import torch
from torch import Tensor

from fimetric import Detector, extract
from fimetric.data import Batch, Spec
from fimetric.objectives import CausalLM, Denoising, NegativeLogLikelihood, Objective


def made(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bytes_of(n: int = 20, *shape: int) -> Tensor:
    """Pictures of 8 bits, 0..255, as floats."""
    return torch.randint(0, 256, (n, *(shape or (1, 8, 8))), generator=made()).float()


EIGHT = bytes_of()
REAL = torch.rand(20, 1, 8, 8, generator=made())
TABLE = torch.randn(50, 4, generator=made())
TOKENS = torch.randint(0, 11, (20, 6), generator=made())

LEARNED = {
    "8 bits in [0, 1]": (EIGHT / 255, ("floats", (1, 8, 8), 0.0, 1.0)),
    "8 bits in [-1, 1]": (2 * EIGHT / 255 - 1, ("floats", (1, 8, 8), -1.0, 1.0)),
    "8 bits as they are": (EIGHT, ("floats", (1, 8, 8), 0.0, 255.0)),
    "8 bits as integers": (EIGHT.long(), ("integers", (1, 8, 8), 0.0, 255.0)),
    "dark 8 bits": ((EIGHT // 4) / 255, ("floats", (1, 8, 8), 0.0, 1.0)),
    "8 bits in rows": (bytes_of(20, 64) / 255, ("floats", (64,), 0.0, 1.0)),
    "resized": (REAL, ("floats", (1, 8, 8), 0.0, 1.0)),
    "grey": (REAL[:, 0], ("floats", (8, 8), 0.0, 1.0)),
    "resized in [-1, 1]": (2 * REAL - 1, ("floats", (1, 8, 8), -1.0, 1.0)),
    "standardised": ((REAL - 0.5) / 0.3, ("floats", (1, 8, 8), None, None)),
    "small numbers": (REAL / 100, ("floats", (1, 8, 8), None, None)),
    "latents": (torch.randn(20, 4, 8, 8, generator=made()), ("floats", (4, 8, 8), None, None)),
    "table": (TABLE, ("floats", (4,), None, None)),
    "table scaled to [0, 1]": (torch.rand(50, 4, generator=made()), ("floats", (4,), None, None)),
    "table of yes and no": ((TABLE > 0).float(), ("floats", (4,), None, None)),
    "counts": ((TABLE.abs() * 80).round().clamp(max=255), ("floats", (4,), None, None)),
    "sound": (2 * torch.rand(9, 2, 400, generator=made()) - 1, ("floats", (2, 400), None, None)),
    "double": (EIGHT.double() / 255, ("floats", (1, 8, 8), 0.0, 1.0)),
    "bfloat16": (REAL.bfloat16(), ("floats", (1, 8, 8), 0.0, 1.0)),
    "booleans": (TABLE > 0, ("booleans", (4,), None, None)),
    "complex": (TABLE.to(torch.complex64), ("complex", (4,), None, None)),
    "rows of integers": (TOKENS, ("integers", (6,), None, None)),
}


@pytest.mark.parametrize("name", LEARNED)
def test_the_convention_is_told_by_shape_and_numbers(name):
    x, expected = LEARNED[name]
    spec = Spec.of(x)
    assert (spec.kind, spec.shape, spec.low, spec.high) == expected
    assert Spec.of(x[:3], x[3:]) == spec  # in any portions
    for part in (x, x[:1], *x.split(3)):  # what was fitted is never refused
        spec.check(part)
    assert Spec(**json.loads(json.dumps(spec.as_dict()))) == spec


UNIT, SIGNED, WHOLE = EIGHT / 255, 2 * EIGHT / 255 - 1, EIGHT
REFUSED = {
    "[0, 1] sees x * 255": (UNIT, WHOLE, r"values from \d.* \[0, 255\]: x / 255 brings"),
    "[0, 1] sees 2x - 1": (UNIT, SIGNED, r"\[-1, 1\]: x / 2 \+ 0.5 brings"),
    "[0, 1] sees one of 2x - 1": (UNIT, SIGNED[:1], "lie in \\[0, 1\\]"),
    "[0, 1] sees one dark picture of 0..255": (
        UNIT,
        WHOLE[:1] // 64,
        r"from 0 to 3, outside \[0, 1\]; images lie",
    ),
    "[-1, 1] sees [0, 1]": (SIGNED, UNIT, r"\[-1, 1\] is expected.*\[0, 1\]: x \* 2 - 1"),
    "[-1, 1] sees one of [0, 1]": (SIGNED, UNIT[:1], r"\[-1, 1\] is expected"),
    "[-1, 1] sees 0..255": (SIGNED, WHOLE, r"\[0, 255\]: x / 127.5 - 1"),
    "0..255 sees [0, 1]": (WHOLE, UNIT, r"\[0, 1\]: x \* 255"),
    "0..255 sees one of [0, 1], resized": (
        WHOLE,
        REAL[:1],
        r"sample 0 has values from 0\.\d+ to 0\.\d+, where \[0, 255\].*\[0, 1\]: x \* 255",
    ),
    "0..255 sees one of [0, 1] among its own": (
        WHOLE,
        torch.cat([WHOLE[:2], REAL[:1], WHOLE[3:4]]),
        r"sample 2 has values from 0\.\d+ to 0\.\d+, where \[0, 255\]",
    ),
    "0..255 sees one grey of [0, 1]": (WHOLE, 0.5 + 0 * REAL[:1], r"from 0.5 to 0.5, where"),
    "0..255 sees one of [-1, 1]": (WHOLE, SIGNED[:1], r"\[0, 255\] is expected"),
    "not of 8 bits, x * 255": (REAL, 255 * REAL, "lie in \\[0, 1\\]"),
    "not of 8 bits, one of 2x - 1": (REAL, 2 * REAL[:1] - 1, "lie in \\[0, 1\\]"),
    "not of 8 bits, [0, 1] for [-1, 1]": (2 * REAL - 1, REAL, r"\[-1, 1\] is expected"),
    "standardised far outside": (REAL, (REAL - 0.5) / 0.3, "lie in \\[0, 1\\]"),
    "integers 0..255 see more": (WHOLE.long(), 2 * WHOLE.long(), r"\[0, 255\] is expected"),
}
OTHER_KINDS = {
    "integers for floats": (TABLE, TABLE.long(), r"integers \(int64\), where floats.*x.float"),
    "sound of 16 bits": (TABLE, TABLE.short(), r"int16.*x / 32768"),
    "integers for pictures": (UNIT, WHOLE.long(), r"uint8, or k/255"),
    "floats for tokens": (TOKENS, TOKENS.float(), "floats .* where integers are expected"),
    "booleans for floats": (TABLE, TABLE > 0, "booleans"),
    "complex for floats": (TABLE, TABLE.to(torch.complex64), "complex"),
    "text": (TABLE, ["a text"], "list is no batch"),
    "nothing": (TABLE, None, "NoneType is no batch"),
}
SHAPES = {
    "28x28 for 8x8": (UNIT, torch.rand(3, 1, 28, 28), r"\(1, 28, 28\).*where \(1, 8, 8\)"),
    "three channels": (UNIT, torch.rand(3, 3, 8, 8), "bring them to"),
    "no batch dimension": (UNIT, UNIT[0], r"x\[None\], of shape \(1, 1, 8, 8\)"),
    "a row of a table": (TABLE, TABLE[0], r"one sample \(4,\) pass x\[None\]"),
    "more columns": (TABLE, torch.randn(3, 5), r"\(5,\) .*where \(4,\)"),
    "channels last": (UNIT, UNIT.movedim(1, -1), r"\(8, 8, 1\)"),
    "a number": (TABLE, torch.tensor(1.0), "single number"),
}


@pytest.mark.parametrize("name", [*REFUSED, *OTHER_KINDS, *SHAPES])
def test_another_convention_is_refused_and_told_apart(name):
    fitted, other, message = {**REFUSED, **OTHER_KINDS, **SHAPES}[name]
    with pytest.raises(TypeError if name in OTHER_KINDS else ValueError, match=message):
        Spec.of(fitted).check(other)


PASSED = {
    "rounding at the ends": (
        UNIT,
        torch.tensor([1.0000001, -1e-7]).expand(2, 1, 8, 2).repeat(1, 1, 1, 4),
    ),
    "a part of the range": (UNIT, 0.2 + 0.3 * REAL),
    "black": (UNIT, torch.zeros(3, 1, 8, 8)),
    "white": (SIGNED, torch.ones(3, 1, 8, 8)),
    "one bright picture": (2 * REAL - 1, REAL[:1]),
    "bright pictures of 8 bits": (SIGNED, 2 * (128 + EIGHT // 2) / 255 - 1),
    "bright pictures, noise on them": (SIGNED, 0.4 + 0.2 * REAL),
    "dark pictures": (WHOLE, WHOLE // 128),
    "dark pictures of two levels": (WHOLE, (WHOLE > 128).float()),
    "resized pictures of 0..255": (WHOLE, 255 * REAL),
    "dark resized pictures of 0..255": (WHOLE, 2.5 * REAL),
    "rounding on black": (WHOLE, 1e-3 * REAL),
    "numbers between the levels": (UNIT, REAL),
    "half precision": (UNIT, UNIT.half()),
    "100 standard deviations in a table": (TABLE, TABLE[:3] + 100 * TABLE.std(0)),
    "1.3 in a table scaled to [0, 1]": (TABLE.sigmoid(), torch.full((2, 4), 1.3)),
    "sound that clips": (torch.rand(9, 1, 400) * 2 - 1, torch.full((2, 1, 400), 1.5)),
    "100 standard deviations in standardised pictures": ((REAL - 0.5) / 0.3, 100 * REAL),
    "no sample": (UNIT, UNIT[:0]),
}


@pytest.mark.parametrize("name", PASSED)
def test_outliers_are_no_misuse(name):
    fitted, strange = PASSED[name]
    Spec.of(fitted).check(strange)


def test_lengths_that_differ_in_the_fitted_data_are_free():
    spec = Spec.of(torch.randn(4, 2, 100), torch.randn(4, 2, 90))
    assert spec.shape == (2, None)
    spec.check(torch.randn(1, 2, 7))
    with pytest.raises(ValueError, match=r"\(3, 100\).*where \(2, any\)"):
        spec.check(torch.randn(1, 3, 100))


def test_batches_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match="differ in kind: floats and integers"):
        Spec.of(TABLE, TABLE.long())
    with pytest.raises(ValueError, match=r"differ in shape, \(4,\) and \(1, 8, 8\)"):
        Spec.of(TABLE, REAL)


def test_entries_besides_the_data():
    spec = Spec.of({"x": TABLE, "context": TABLE[:, 0]})
    spec.check({"context": TABLE[:2, 0], "x": TABLE[:2]})
    with pytest.raises(ValueError, match="no other entry besides the data, where 'context'"):
        spec.check(TABLE)
    with pytest.raises(ValueError, match="'context', 'more' besides the data"):
        spec.check({"x": TABLE, "context": TABLE, "more": TABLE})
    texts = Spec.of({"input_ids": TOKENS, "attention_mask": torch.ones_like(TOKENS)})
    texts.check(TOKENS)  # a text without padding needs no mask


def test_columns_of_a_table():
    @dataclasses.dataclass(frozen=True)
    class Table(Batch):
        columns: tuple[str, ...] = ()

    def table(*columns: str) -> Table:
        return Table(TABLE[:2, : len(columns)], ["a", "b"], columns)

    spec = Spec.of(table("age", "size"))
    assert spec.columns == ("age", "size")
    spec.check(table("age", "size"))
    spec.check(TABLE[:, :2])  # an array has no names
    with pytest.raises(ValueError, match="another order; pass 'age', 'size', in this order"):
        spec.check(table("size", "age"))
    with pytest.raises(ValueError, match="'size' missing, 'weight' not known"):
        spec.check(table("age", "weight"))


def test_arrays_are_batches():
    assert Spec.of(REAL.numpy()) == Spec.of(REAL)
    Spec.of(REAL).check(REAL.numpy())
    with pytest.raises(TypeError, match="ndarray is no batch"):
        Spec.of(np.array(["a"]))


class Gaussian(torch.nn.Module):
    """A density of samples of any shape."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.nn.Parameter(torch.zeros(()))
        self.scale = torch.nn.Parameter(torch.ones(()))

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.distributions.Normal(self.mean, self.scale).log_prob(x).flatten(1).sum(1)


class Bigrams(torch.nn.Module):
    """The smallest language model: tokens 0..10."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(11, 11)

    def get_input_embeddings(self) -> torch.nn.Embedding:
        return self.table

    def forward(self, input_ids: Tensor, **_: object) -> object:
        logits = self.table(input_ids)
        return type("Output", (), {"logits": logits})()


class Schedule:
    alphas_cumprod = torch.linspace(0.99, 0.01, 10)


class Shift(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros(()))
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.scale * x + self.shift


@pytest.mark.parametrize(
    "objective",
    [Denoising(Shift(), Schedule()), NegativeLogLikelihood(Gaussian(), levels=256)],
    ids=["denoising", "dequantised"],
)
def test_an_objective_refuses_another_range_than_it_states(objective):
    for x in (2 * REAL - 1, 255 * REAL, bytes_of(20, 4)):
        with pytest.raises(ValueError, match=r"lie in \[0, 1\]: store uint8, or float k/255"):
            Detector(objective).fit(x)
    spec = Detector(objective).fit(bytes_of(20, 4) / 510).spec_  # by the numbers alone it is free
    assert spec is not None and (spec.low, spec.high, spec.shape) == (0.0, 1.0, (4,))


def test_an_objective_that_states_nothing_takes_any_range():
    for objective in (
        Denoising(Shift(), Schedule(), centred=False),
        NegativeLogLikelihood(Gaussian()),
    ):
        assert objective.spec is None
        detector = Detector(objective).fit(TABLE)
        assert np.isfinite(detector.score(TABLE[:2] + 100)).all()


def test_tokens_are_those_of_the_model():
    detector = Detector(CausalLM(Bigrams())).fit(TOKENS)
    spec = detector.spec_
    assert spec is not None
    assert (spec.kind, spec.shape, spec.vocabulary) == ("tokens", (None,), 11)
    assert detector.score(TOKENS[:2, :3]).shape == (2,)  # a text's length is free
    for tokens, message in (
        (TOKENS + 5, r"sample \d+ \(row \d+\) has the token 1\d, where they go from 0 to 10"),
        (TOKENS - 5, r"has the token -\d"),
        (TOKENS[0], r"pass x\[None\]"),
    ):
        with pytest.raises(ValueError, match=message):
            detector.score(tokens)
    with pytest.raises(TypeError, match=r"floats .* tokens are expected; pass the token ids"):
        detector.score(TOKENS.float())
    with pytest.raises(ValueError, match="has the token 1"):
        Detector(CausalLM(Bigrams())).fit(TOKENS + 5)


def test_padding_may_hold_any_id():
    padded = TOKENS[:3].clone()
    padded[:, -1] = -100
    mask = (padded >= 0).long()
    spec = Spec("tokens", (None,), 0, 10, vocabulary=11)
    spec.check({"input_ids": padded, "attention_mask": mask})
    with pytest.raises(ValueError, match="token -100"):
        spec.check(padded)


def test_any_objective_on_embeddings_knows_its_tokens():
    table = torch.nn.Embedding(11, 3)
    objective = Objective(lambda x: table(x).square().sum((1, 2)), table)
    with pytest.raises(ValueError, match="where they go from 0 to 10"):
        Detector(objective).fit(TOKENS + 5)
    assert Detector(objective).fit(TOKENS).score(TOKENS[:2, :4]).shape == (2,)


@pytest.mark.parametrize(
    ("layer", "x", "shape"),
    [
        (torch.nn.Conv1d(2, 3, 3), torch.randn(20, 2, 30), (2, None)),
        (torch.nn.GRU(3, 4, batch_first=True), torch.randn(20, 30, 3), (None, 3)),
        (torch.nn.Conv2d(2, 3, 3), torch.randn(20, 2, 6, 5), (2, 6, 5)),
    ],
    ids=["convolution", "recurrent", "pictures"],
)
def test_a_model_of_sequences_leaves_their_length_free(layer, x, shape):
    def loss(x: Tensor) -> Tensor:
        found = layer(x)
        return (found[0] if isinstance(found, tuple) else found).flatten(1).square().mean(1)

    detector = Detector(Objective(loss, layer)).fit(x)
    assert detector.spec_ is not None and detector.spec_.shape == shape
    free = shape.index(None) + 1 if None in shape else -1
    shorter = x[:3].narrow(free, 0, 5 if None in shape else 4)
    if None in shape:
        assert detector.score(shorter).shape == (3,)
    else:
        with pytest.raises(ValueError, match=r"where \(2, 6, 5\) is expected"):
            detector.score(shorter)


@pytest.mark.parametrize(
    "verb", ["score", "p_value", "predict", "explain", "features", "recalibrate"]
)
def test_every_verb_checks_in_one_place(verb):
    detector = Detector(NegativeLogLikelihood(Gaussian()), "layerwise-gaussian").fit(UNIT)
    arguments = {"alpha": 0.2} if verb == "predict" else {}
    getattr(detector, verb)(UNIT, **arguments)
    for x in (WHOLE, SIGNED, torch.rand(20, 1, 28, 28), UNIT[0]):
        with pytest.raises(ValueError, match=r"expected|lie in"):
            getattr(detector, verb)(x, **arguments)


SERIES = torch.rand(20, 16, 16, generator=made())  # of 16 channels, scaled to [0, 1]


def test_a_range_that_was_inferred_is_told_once_and_can_be_freed(caplog):
    caplog.set_level(logging.INFO, "fimetric")
    detector = Detector(NegativeLogLikelihood(Gaussian()), "layerwise-gaussian", batch_size=3)
    detector.fit(SERIES)
    said = r"floats of shape (16, 16), are taken for pictures in [0, 1]"
    assert caplog.text.count(said) == 1
    beyond = SERIES[:2] + 0.4
    with pytest.raises(ValueError, match=r"outside \[0, 1\].* inferred .*fit on rows.*or free the"):
        detector.score(beyond)
    rows = Detector(NegativeLogLikelihood(Gaussian()), "layerwise-gaussian").fit(SERIES.flatten(1))
    assert rows.score(beyond.flatten(1)).shape == (2,)
    detector.spec_ = dataclasses.replace(detector.spec_, low=None, high=None)
    assert detector.score(beyond).shape == (2,)
    assert caplog.text.count("are taken for") == 1


def test_a_range_that_an_objective_states_was_not_inferred(caplog):
    caplog.set_level(logging.INFO, "fimetric")
    detector = Detector(NegativeLogLikelihood(Gaussian(), levels=256)).fit(UNIT)
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]") as caught:
        detector.score(WHOLE)
    assert "inferred" not in str(caught.value) and "taken for" not in caplog.text


def test_data_to_calibrate_on_are_checked_too():
    detector = Detector(NegativeLogLikelihood(Gaussian()))
    with pytest.raises(ValueError, match=r"x / 255 brings them there"):
        detector.fit(UNIT, calibration=WHOLE)
    assert detector.calibration_ is None
    detector.fit(WHOLE)  # what a fit that failed has learned is forgotten
    assert detector.spec_ is not None and detector.spec_.high == 255


def test_streams_are_checked_batch_by_batch():
    detector = Detector(NegativeLogLikelihood(Gaussian()), batch_size=5).fit(UNIT)
    with pytest.raises(ValueError, match="sample 12 has"):
        detector.score(torch.cat([UNIT[:12], WHOLE[12:13], UNIT[13:]]))


def test_scores_do_not_depend_on_the_size_of_a_batch():
    one, many = (
        Detector(NegativeLogLikelihood(Gaussian()), batch_size=size).fit(UNIT) for size in (1, None)
    )
    np.testing.assert_allclose(one.score(REAL), many.score(REAL), rtol=1e-4)  # float32 sums


def test_levels_that_are_stated_are_asked_for():
    objective = NegativeLogLikelihood(Gaussian(), levels=32)
    with pytest.raises(
        ValueError, match=r"256 levels of 8 bits, where 32 levels are expected.* k / 31"
    ):
        Detector(objective).fit(UNIT)
    detector = Detector(objective).fit((31 * UNIT).round() / 31)
    assert np.isfinite(detector.score(REAL)).all()  # between all levels: strange, no mistake


def test_what_is_judged_teaches_nothing():
    objective = NegativeLogLikelihood(Gaussian())
    detector = Detector(objective).fit(extract(objective, UNIT, progress=False))
    assert detector.spec_.high == 1  # as the table says
    detector.score(UNIT / 2)
    assert detector.spec_.high == 1
    with pytest.raises(ValueError, match="x / 255"):
        detector.score(WHOLE)
