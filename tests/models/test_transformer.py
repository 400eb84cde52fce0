"""The likelihood of a text by hand, in any padding; its norms; draws; a model that is kept."""

import copy
import logging
import math
import sys
from dataclasses import replace

import pytest
import torch
from tests.models.examples import example

import fimetric as fm
from fimetric.data import Samples, Texts
from fimetric.detection.remarks import of_model
from fimetric.models import Transformer, TransformerConfig, build, build_for, load, save
from fimetric.models.vocabulary import BEGINNING
from fimetric.objectives import standard_objective
from fimetric.training import train

pytest.importorskip("transformers")

TEXTS = example("transformer", 40)
CONFIG = TransformerConfig(layers=2, width=16, heads=2, context=512, vocabulary=300)


@pytest.fixture(scope="module")
def model() -> Transformer:
    """A model in float64, whose weights are all far from where they begin."""
    made = build_for("transformer", CONFIG, TEXTS).double().eval()
    with torch.no_grad():
        for p in made.parameters():
            p += 0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)).double()
    return made


def of_few(context: int, mutation: float = 0.0) -> Transformer:
    """A model that sees a few tokens at once."""
    few = replace(CONFIG, context=context, mutation=mutation)
    return build_for("transformer", few, TEXTS).double().eval()


def by_hand(model: Transformer, ids: list[int]) -> torch.Tensor:
    """The sum of log softmax, token by token, each from a pass of its own."""
    found = torch.zeros((), dtype=torch.float64)
    for t in range(1, len(ids)):
        logits = model.language_model(torch.tensor([ids[:t]])).logits[0, -1]
        found = found + logits[ids[t]] - logits.exp().sum().log()
    return found


def test_log_prob_is_the_sum_over_the_tokens(model):
    x = model.taken(TEXTS, [0, 1, 2])
    found = model.log_prob(x)
    for text, value in zip(TEXTS.raw(range(3)), found, strict=True):
        (ids,) = model.vocabulary.encoded([text])
        torch.testing.assert_close(value, by_hand(model, ids), rtol=1e-10, atol=0)


def test_padding_changes_nothing(model):
    x = model.taken(TEXTS, range(6))
    longer = torch.nn.functional.pad(x, (0, 9), value=-1)
    assert len({int((row >= 0).sum()) for row in x}) > 3
    alone = torch.stack([model.log_prob(model.taken(TEXTS, [i]))[0] for i in range(6)])
    for given in (x, longer):
        torch.testing.assert_close(model.log_prob(given), alone, rtol=1e-12, atol=0)


def test_longer_texts_are_read_in_stretches():
    model = of_few(8)
    x = model.taken(TEXTS, [3])[:, :18]
    parts = [x[0, :8], x[0, 7:15], x[0, 14:]]  # seven tokens each, and the one before
    expected = sum(by_hand(model, part.tolist()) for part in parts)
    torch.testing.assert_close(model.log_prob(x)[0], expected, rtol=1e-10, atol=0)
    x = model.taken(TEXTS, range(6))
    alone = torch.stack([model.log_prob(model.taken(TEXTS, [i]))[0] for i in range(6)])
    torch.testing.assert_close(model.log_prob(x), alone, rtol=1e-12, atol=0)


def test_probabilities_of_all_texts_of_one_length_sum_to_one():
    model = build("transformer", TransformerConfig(1, 8, 2), (3,)).double()
    x = torch.cartesian_prod(torch.tensor([256]), *[torch.arange(257)] * 2)
    with torch.no_grad():
        total = torch.cat([model.log_prob(part).exp() for part in x.split(8192)]).sum()
    assert total.item() == pytest.approx(1, abs=1e-10)


def test_the_objective_is_minus_the_log_probability(model):
    objective = standard_objective(model)
    batch = objective.prepare(TEXTS.raw(range(5)))
    found = objective(batch)
    torch.testing.assert_close(found, -model.log_prob(model.taken(TEXTS, range(5))))
    assert objective.dimensions(batch).tolist() == [
        len(ids) - 1 for ids in model.vocabulary.encoded(TEXTS.raw(range(5)))
    ]


def test_the_tokenizer_of_the_objective_is_the_vocabulary(model):
    tokenizer = standard_objective(model).tokenizer
    texts = [*TEXTS.raw(range(3)), f"a {BEGINNING}, b", BEGINNING, "É\r\n\t  🙂"]
    found = tokenizer(texts)["input_ids"]
    assert found == model.vocabulary.encoded(texts)
    assert all(row.count(tokenizer.bos_token_id) == 1 for row in found)
    assert tokenizer.batch_decode(found, skip_special_tokens=True) == texts
    assert not any("beginning-of-text" in each for each in of_model(standard_objective(model)))


def test_norms_are_those_of_autograd_text_by_text(model):
    objective = standard_objective(model)
    found = fm.extract(objective, TEXTS.select(range(5)), batch_size=5, progress=False)
    parameters = dict(objective.module.named_parameters())
    assert found.names == tuple(parameters)
    for row, text in zip(found.values, TEXTS.raw(range(5)), strict=True):
        loss = -by_hand(model, model.vocabulary.encoded([text])[0])
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        expected = torch.stack([g.square().sum().log() for g in gradients])
        torch.testing.assert_close(torch.as_tensor(row), expected, rtol=1e-7, atol=1e-7)


def test_bits_are_by_the_byte(model):
    texts = ["the river", "漢字 Å"]
    expected = [
        -by_hand(model, ids).item() / math.log(2) / len(text.encode())
        for text, ids in zip(texts, model.vocabulary.encoded(texts), strict=True)
    ]
    assert model.bits_per_dim(model.tokens(texts), None).tolist() == pytest.approx(expected)
    assert model.UNIT == "byte"


def test_training_takes_a_stretch_of_longer_texts_anywhere():
    model = of_few(8)
    ids = model.taken(TEXTS, [0])[:, :11]
    x = torch.nn.functional.pad(ids, (0, 4), value=-1)
    possible = [-by_hand(model, ids[0, a : a + 8].tolist()) for a in range(4)]
    generator = torch.Generator().manual_seed(0)
    found = model.training_losses(x.expand(200, -1), generator)
    near = (found[:, None] - torch.stack(possible)).abs().amin(1)
    assert near.max() < 1e-9
    counts = [int((found - p).abs().lt(1e-9).sum()) for p in possible]
    assert sum(counts) == 200 and min(counts) > 25  # 50 each, standard error 6
    assert model.sizes(x) == 7 and model.sizes(x[:, :5]) == 4


def test_mutation_replaces_its_share_of_tokens_by_others_equally_often():
    model = of_few(64, mutation=0.3)
    size = model.vocabulary.beginning
    x = torch.cat([torch.full((400, 1), size), torch.full((400, 50), 7)], 1)
    x[:, 40:] = -1
    found = model._mutated(x, torch.Generator().manual_seed(0))
    assert torch.equal(found[:, 0], x[:, 0]) and torch.equal(found[:, 40:], x[:, 40:])
    changed = found[:, 1:40].flatten()
    share = (changed != 7).double().mean().item()
    assert share == pytest.approx(0.3, abs=5 * (0.21 / 15_600) ** 0.5)
    counts = torch.bincount(changed, minlength=size + 1)
    assert counts[size] == 0
    others = counts[[i for i in range(size) if i != 7]].double()
    # Poisson counts of mean 4,680 / 298: five standard errors of their variance
    assert abs(others.var() / others.mean() - 1) < 5 * (2 / len(others)) ** 0.5


def test_mutation_is_of_training_alone():
    clean, mutated = of_few(64), of_few(64, mutation=0.3)
    x = clean.taken(TEXTS, range(4))
    assert torch.equal(clean.log_prob(x), mutated.log_prob(x))
    generator = torch.Generator().manual_seed(0)
    assert not torch.allclose(mutated.training_losses(x, generator), -mutated.log_prob(x))


def test_the_background_model_has_the_vocabulary_of_the_model_it_stands_beside():
    small = build_for("transformer", "small", TEXTS)
    background = build_for("transformer", "background", TEXTS)
    assert small.config.merges == background.config.merges and small.config.merges
    count = [sum(p.numel() for p in m.parameters()) for m in (small, background)]
    assert background.config.mutation == 0.3 and count[1] < count[0] / 4
    known = build_for("transformer", replace(small.config, layers=1), example("transformer", 5, 1))
    assert known.config.merges == small.config.merges  # not learned anew


def test_draws_have_the_probabilities_of_the_model(model):
    short = build("transformer", TransformerConfig(1, 8, 2), (4,)).double().eval()
    with torch.no_grad():
        for p in short.parameters():
            p += 0.2 * torch.randn(p.shape, generator=torch.Generator().manual_seed(2)).double()
    x = short.sample(4000, torch.Generator().manual_seed(0))
    assert x.shape == (4000, 4) and x.dtype == torch.int64 and (x[:, 0] == 256).all()
    # the expected gradient of log p is 0: here by what is added to the logits of one token
    logits = short.language_model(x).logits[:, :-1].softmax(-1)
    for token in (65, 101):
        error = ((x[:, 1:] == token).double() - logits[..., token]).sum(1)
        assert abs(error.mean()) < 5 * error.std() / 4000**0.5
    assert [type(text) for text in short.texts(x[:2])] == [str, str]


def test_draws_do_not_depend_on_what_the_cache_keeps(model):
    x = model.sample(2, torch.Generator().manual_seed(3))[:, :40]
    uniform = torch.rand(511, 2, 1, generator=torch.Generator().manual_seed(3))
    for t in range(1, 40):
        shares = model.language_model(x[:, :t]).logits[:, -1].softmax(1).cumsum(1)
        assert ((shares[:, :-1] <= uniform[t - 1]).sum(1) == x[:, t]).all()


def test_texts_of_tokens(model):
    texts = TEXTS.raw(range(4))
    assert model.texts(model.taken(TEXTS, range(4))) == texts


def test_a_kept_model_holds_its_embedding_once_and_its_vocabulary(model, tmp_path):
    save(model.float(), tmp_path / "m", half=True)
    found = load(tmp_path / "m")
    model.double()
    assert found.config == model.config and found.vocabulary.lengths == model.vocabulary.lengths
    assert not [name for name in found.state_dict() if "lm_head" in name]
    for made in (found, copy.deepcopy(found)):
        head = made.language_model.lm_head.weight
        assert head is made.language_model.transformer.wte.weight
        made.load_state_dict(found.state_dict())
        with pytest.raises(RuntimeError, match="Missing key"):
            made.load_state_dict({})


@pytest.mark.parametrize(
    ("settings", "shape", "words"),
    [
        ({"mutation": 1.0}, (8,), "mutation must be in"),
        ({"vocabulary": 200}, (8,), "vocabulary must be at least 257"),
        ({"merges": ["a"]}, (8,), "not two tokens known before it"),
        ({"width": 10, "heads": 4}, (8,), "divisible by num_heads"),
        ({}, (1,), "2 tokens at least"),
        ({}, (1, 8, 8), r"shape must be \(tokens\)"),
    ],
)
def test_unfit_settings_are_refused(settings, shape, words):
    with pytest.raises(ValueError, match=words):
        build("transformer", settings, shape)


def test_texts_and_numbers_are_not_confused(tmp_path):
    images = Samples(torch.zeros(5, 1, 8, 8))
    with pytest.raises(TypeError, match=r"model of texts \(tokens\), and samples holds pictures"):
        build_for("transformer", "tiny", images)
    model = build_for("transformer", "tiny", TEXTS)
    for data in (images, torch.zeros(5, 1, 8, 8)):
        with pytest.raises(TypeError, match="no texts, and the model is one of texts"):
            train(model, data, tmp_path / "m", steps=1, progress=False)
    with pytest.raises(TypeError, match="texts, which are no numbers"):
        train(build("vae", "tiny", (1, 8, 8)), TEXTS, tmp_path / "v", steps=1, progress=False)


def test_lists_of_texts_are_trained_on_as_texts_are(tmp_path, caplog):
    found = []
    for name, data in (("a", TEXTS), ("b", TEXTS.texts), ("c", [{"text": t} for t in TEXTS.texts])):
        model = build_for("transformer", "tiny", TEXTS)
        with caplog.at_level(logging.INFO):
            found.append(train(model, data, tmp_path / name, steps=4, progress=False))
    assert found[0] == found[1] == found[2]
    assert "bits/byte" in caplog.text and "bits/dim" not in caplog.text
    with pytest.raises(ValueError, match="of another run: data"):
        train(model, Texts(TEXTS.texts[::-1]), tmp_path / "a", steps=4, progress=False)


def test_training_learns(tmp_path):
    history = train(
        build_for("transformer", "tiny", TEXTS), TEXTS, tmp_path, steps=60, warmup=5, progress=False
    )
    assert history.best < 0.7 * history.rows[0]["bits_per_dim"]


def test_a_window_is_for_texts(tmp_path):
    save(build("vae", "tiny", (1, 8, 8)), tmp_path / "vae")
    with pytest.raises(ValueError, match="window=8 concerns models of texts, not a VAE"):
        fm.objectives.from_pretrained(tmp_path / "vae", window=8)


def test_without_its_library_it_says_what_to_install(monkeypatch):
    for missing in ("transformers", "tokenizers"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, missing, None)
            with pytest.raises(ImportError, match=r"pip install 'fimetric\[text\]'"):
                build_for("transformer", "tiny", TEXTS)
