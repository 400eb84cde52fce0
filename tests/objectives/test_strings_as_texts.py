# ruff: noqa: E501 (a row of the table is a line)
"""Texts as strings: what a tokenizer makes of them, and what objectives make of that."""

import logging

import pytest
import torch
from torch import nn

import fimetric as fm
from fimetric.data.batch import Batch
from fimetric.fingerprint.model import model_fingerprint
from fimetric.objectives import CausalLM, MaskedLM, Seq2SeqLM

pytest.importorskip("transformers")
from saved_text_models import TEXTS, build, tokenizer


@pytest.fixture(scope="module")
def gpt2():
    return build("gpt2", "AutoModelForCausalLM")


@pytest.fixture(scope="module")
def bert():
    return build("bert", "AutoModelForMaskedLM").double()


@pytest.fixture(scope="module")
def t5():
    return build("t5", "AutoModelForSeq2SeqLM").double()


@pytest.mark.parametrize("pad", [True, False])
def test_strings_are_what_the_tokenizer_makes_of_them(gpt2, pad):
    words = tokenizer(pad=pad)
    batch = CausalLM(gpt2, words).prepare(TEXTS)
    wanted = [words(text)["input_ids"] for text in TEXTS]
    assert all(row[0] == words.bos_token_id for row in wanted)
    lengths = list(map(len, wanted))
    assert batch["attention_mask"].tolist() == [[1] * n + [0] * (max(lengths) - n) for n in lengths]
    found = zip(batch["input_ids"].tolist(), lengths, strict=True)
    assert [row[:n] for row, n in found] == wanted


def test_a_detector_takes_strings(gpt2):
    many = [f"{text} {i}" for i in range(20) for text in TEXTS[1:]]
    detector = fm.Detector(CausalLM(gpt2, tokenizer(), window=12)).fit(many)
    new = ["a bird ran away", "the cat sat", "some sat at night and sang to the dogs"]
    assert detector.score(new)[1] == pytest.approx(detector.score(new[1:2])[0], rel=1e-3)


def test_without_a_tokenizer_nothing_is_told_that_was_not_told_before(gpt2):
    plain = CausalLM(gpt2)
    assert plain.describe() == "CausalLM(GPT2LMHeadModel)" and plain.settings() == {}
    assert not {"window", "tokenizer"} & vars(plain).keys()


def test_what_changes_tokens_changes_the_settings(gpt2):
    words, other = tokenizer(), tokenizer("masked")
    one = CausalLM(gpt2, words)
    assert one.describe() == CausalLM(gpt2, tokenizer()).describe()
    assert one.settings()["tokenizer"] != CausalLM(gpt2, other).settings()["tokenizer"]
    assert CausalLM(gpt2, words, window=5).settings()["window"] == 5
    assert model_fingerprint(one) == model_fingerprint(CausalLM(gpt2, other))  # of weights alone
    before = one.prepare(TEXTS)["input_ids"]
    words.add_tokens(["cat sat"])
    assert torch.equal(one.prepare(TEXTS)["input_ids"], before)  # a copy of its own
    assert one.settings()["tokenizer"] != CausalLM(gpt2, words).settings()["tokenizer"]


def test_padding_and_cutting_set_by_earlier_calls_do_not_matter(gpt2):
    words = tokenizer()
    wanted = CausalLM(gpt2, words)
    words(TEXTS, padding="max_length", truncation=True, max_length=3)
    found = CausalLM(gpt2, words)
    assert found.describe() == wanted.describe()
    assert torch.equal(found.prepare(TEXTS)["input_ids"], wanted.prepare(TEXTS)["input_ids"])


@pytest.mark.parametrize("form", ["strings", "tokens", "padded on the left"])
def test_a_window_cuts(gpt2, form):
    words = tokenizer()
    whole, cut = CausalLM(gpt2, words), CausalLM(gpt2, words, window=4)
    batch = whole.prepare(TEXTS)
    wanted = whole({key: x[:, :4] for key, x in batch.items()})
    if form == "padded on the left":
        batch = {
            key: torch.stack(
                [r.roll(-int(n)) for r, n in zip(x, batch["attention_mask"].sum(1), strict=True)]
            )
            for key, x in batch.items()
        }
    batch = cut.prepare(TEXTS) if form == "strings" else batch
    assert torch.equal(cut(batch), wanted)
    assert cut.dimensions(batch).tolist() == [3] * 4


def test_texts_longer_than_the_model_are_refused_or_cut(gpt2):
    long = [TEXTS[0], "the" + " cat the" * 20]
    wanted = r"row 1 of the batch, 'the cat the cat the cat \.\.\.', has 42 tokens, the model has "
    with pytest.raises(ValueError, match=wanted + r"positions for 24; .*window=24"):
        CausalLM(gpt2, tokenizer()).prepare(long)
    assert CausalLM(gpt2, tokenizer(), window=24).prepare(long)["input_ids"].shape == (2, 24)
    llama = build("llama", "AutoModelForCausalLM")  # its positions go on, its training did not
    with pytest.raises(ValueError, match=r"row 1 .* positions for 24; .*window=24"):
        CausalLM(llama, tokenizer()).prepare(long)
    roberta = build("roberta", "AutoModelForMaskedLM", max_position_embeddings=25)
    with pytest.raises(ValueError, match=r"row 0 .* has 25 tokens, .* positions for 24; shorten"):
        MaskedLM(roberta, tokenizer("masked")).prepare([" the cat" * 11 + "s"])


def alone(objective, text, source=None):
    """Return loss and squared norms of one text, by transformers and autograd alone."""
    module, words = objective.module, objective.tokenizer
    ids = words(text, return_tensors="pt")["input_ids"]
    if isinstance(objective, MaskedLM):
        loss = torch.zeros((), dtype=torch.float64)
        for t in range(1, ids.shape[1] - 1):
            masked = ids.clone()
            masked[0, t] = words.mask_token_id
            loss = loss - module(masked).logits[0, t].log_softmax(0)[ids[0, t]]
    else:
        reads = words(source, return_tensors="pt")["input_ids"]
        logits = module(input_ids=reads, labels=ids).logits
        loss = -logits.log_softmax(2)[0].gather(1, ids.T).sum()
    parameters = list(module.parameters())
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    squares = [torch.zeros(()) if g is None else g.square().sum() for g in gradients]
    return loss.detach(), torch.stack([s.double() for s in squares])


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_pseudo_likelihood_is_that_of_each_position_masked_alone(kind):
    model = build(kind, "AutoModelForMaskedLM").double()
    objective = MaskedLM(model, tokenizer("masked"))
    batch = objective.prepare(TEXTS)
    losses = objective(batch)
    norms = fm.GradientNorms(model)(losses)
    wanted, squares = zip(*(alone(objective, text) for text in TEXTS), strict=True)
    torch.testing.assert_close(losses.detach(), torch.stack(wanted), rtol=1e-6, atol=0)
    torch.testing.assert_close(norms, torch.stack(squares), rtol=1e-6, atol=1e-12)
    lengths = batch["attention_mask"].sum(1) - 2
    assert objective.dimensions(batch).tolist() == lengths.tolist()


def test_chunks_and_the_last_layer_at_one_position_change_nothing(bert, monkeypatch):
    objective, seen = MaskedLM(bert, tokenizer("masked")), []
    handle = bert.get_output_embeddings().register_forward_hook(
        lambda module, given, out: seen.append(tuple(out.shape[:2]))
    )
    batch = objective.prepare(TEXTS)
    rows = 4 * int(objective.dimensions(batch).max())
    wanted = objective(batch)
    assert seen == [(rows, 1)]
    monkeypatch.setattr("fimetric.objectives.masked.TOGETHER", 5 * batch["input_ids"].numel())
    torch.testing.assert_close(objective(batch), wanted, rtol=1e-12, atol=0)
    assert len(seen) == 1 + -(-rows // 20)
    handle.remove()
    monkeypatch.setattr(type(bert), "get_output_embeddings", lambda self: None)
    torch.testing.assert_close(objective(batch), wanted, rtol=1e-12, atol=0)


def test_a_subset_of_positions_depends_on_the_text_alone_and_is_scaled(bert):
    words, K = tokenizer("masked"), 4
    some = MaskedLM(bert, words, positions=K)
    batch = some.prepare(TEXTS)
    each = torch.cat([some(some.prepare([text])) for text in TEXTS])
    torch.testing.assert_close(some(batch), each, rtol=1e-9, atol=0)
    assert not torch.allclose(some(batch), MaskedLM(bert, words, positions=K, seed=1)(batch))
    assert not torch.allclose(some(batch), some.with_own_noise()(batch))
    every = MaskedLM(bert, words)
    torch.testing.assert_close(MaskedLM(bert, words, positions=99)(batch), every(batch))
    seeds = [MaskedLM(bert, words, positions=K, seed=s)(batch).detach() for s in range(60)]
    error = torch.stack(seeds).std(0) / 60**0.5
    assert ((torch.stack(seeds).mean(0) - every(batch).detach()).abs() < 4 * error + 1e-9).all()


def test_a_masked_model_takes_tokens_where_its_config_says_what_masks(bert, monkeypatch):
    words = tokenizer("masked")
    with_words = MaskedLM(bert, words)
    batch = with_words.prepare(TEXTS)
    for name in ("mask", "cls", "sep"):
        monkeypatch.setattr(
            bert.config, f"{name}_token_id", getattr(words, f"{name}_token_id"), raising=False
        )
    torch.testing.assert_close(MaskedLM(bert)(batch), with_words(batch))


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_a_target_is_judged_given_its_source(kind):
    model = build(kind, "AutoModelForSeq2SeqLM").double()
    objective = Seq2SeqLM(model, tokenizer("seq2seq"), condition="source")
    sources = ["cats", "a dog and a bird sing", "night", "away, away"]
    batch = Batch(objective.prepare(TEXTS), list("abcd"), kept={"source": sources})
    told = objective.conditioned(batch).x
    losses = objective(told)
    norms = fm.GradientNorms(model)(losses)
    pairs = zip(TEXTS, sources, strict=True)
    wanted, squares = zip(*(alone(objective, *pair) for pair in pairs), strict=True)
    torch.testing.assert_close(losses.detach(), torch.stack(wanted), rtol=1e-6, atol=0)
    torch.testing.assert_close(norms, torch.stack(squares), rtol=1e-6, atol=1e-12)
    assert objective.dimensions(told).tolist() == batch.x["attention_mask"].sum(1).tolist()


def test_without_a_column_the_source_is_empty_which_is_said_once(t5, caplog):
    words = tokenizer("seq2seq")
    with caplog.at_level(logging.INFO, logger="fimetric"):
        objective = Seq2SeqLM(t5, words)
        batch = objective.prepare(TEXTS)
        losses = [objective(batch), objective(batch)][0]
    assert caplog.text.count("empty source, tokens [6]") == 1
    wanted = torch.stack([alone(objective, text, "")[0] for text in TEXTS])
    torch.testing.assert_close(losses.detach(), wanted, rtol=1e-6, atol=0)
    torch.testing.assert_close(Seq2SeqLM(t5)(batch), losses)  # its config says what ends a text


def test_a_detector_is_told_the_column_of_sources(t5):
    objective = Seq2SeqLM(t5.float(), tokenizer("seq2seq"), condition="source")
    batch = objective.prepare([f"{text} {i}" for i in range(10) for text in TEXTS[1:]])
    data = {**batch, "source": [f"night {i % 3}" for i in range(30)]}
    detector = fm.Detector(objective).fit(data)
    other = {**data, "source": ["a dog sat"] * 30}
    assert (detector.score(data) != detector.score(other)).any()
    t5.double()


def letters():
    """Return a tokenizer that knows two letters, and nothing for all others."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=made)


class Bag(nn.Module):
    """A masked model of one's own that has no attention_mask."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(400, 4)

    def forward(self, input_ids):
        return self.table(input_ids).mean(1, keepdim=True).expand(-1, input_ids.shape[1], -1)


MISUSES = {
    "no tokenizer": (lambda m: CausalLM(m).prepare(TEXTS), TypeError, r"CausalLM\(model, tokenizer="),
    "a tokenizer's path": (lambda m: CausalLM(m, "gpt2"), TypeError, "one of transformers, not 'gpt2'"),
    "a bare tokenizer": (
        lambda m: CausalLM(m, tokenizer().backend_tokenizer),
        TypeError,
        r"PreTrainedTokenizerFast\(tokenizer_object=tokenizer\)",
    ),
    "a text that a tokenizer cannot read": (
        lambda m: CausalLM(m, letters()).prepare(["ab", "abc"]),
        ValueError,
        "the tokenizer cannot read row 1 of the batch, 'abc': .*UNK",
    ),
    "a window of one": (lambda m: CausalLM(m, window=1), ValueError, "window must be at least 2"),
    "half a window": (lambda m: CausalLM(m, window=2.5), TypeError, "window must be a whole number"),
    "an empty text": (
        lambda m: CausalLM(m, tokenizer()).prepare([*TEXTS, ""]),
        ValueError,
        "row 4 of the batch: .* beginning-of-text",
    ),
    "special tokens alone": (
        lambda m: MaskedLM(m, tokenizer("masked"))(MaskedLM(m, tokenizer("masked")).prepare(["a", "[UNK]", "[SEP]"])),
        ValueError,
        "row 2 of the batch: a text of special tokens alone",
    ),
    "nothing that masks": (lambda m: MaskedLM(m), ValueError, "has no mask_token_id"),
    "no positions": (lambda m: MaskedLM(m, tokenizer("masked"), 0), ValueError, "positions must be at least 1"),
    "padding that is not masked": (
        lambda m: MaskedLM(Bag(), tokenizer("masked"))(MaskedLM(Bag(), tokenizer("masked")).prepare(TEXTS)),
        ValueError,
        "Bag takes no attention_mask",
    ),
    "a model without a decoder": (
        lambda m: Seq2SeqLM(m, tokenizer("seq2seq")),
        TypeError,
        "GPT2LMHeadModel has neither prepare_decoder",
    ),
    "a column without a tokenizer": (
        lambda m: Seq2SeqLM(build("t5", "AutoModelForSeq2SeqLM"), condition="source"),
        ValueError,
        "column of strings: give the tokenizer",
    ),
    "a source that is no text": (
        lambda m: Seq2SeqLM(build("t5", "AutoModelForSeq2SeqLM"), tokenizer("seq2seq"), "source").tell(["a", None]),
        TypeError,
        "row 1 of the batch is None, and must be a text",
    ),
    "no sources": (
        lambda m: Seq2SeqLM(build("t5", "AutoModelForSeq2SeqLM"), tokenizer("seq2seq"), "source")(torch.ones(1, 3).long()),
        ValueError,
        r"no source_ids; objective.conditioned\(batch\) makes them of the column 'source'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("misuse", MISUSES)
def test_misuses_of_strings_are_told(gpt2, misuse):
    call, kind, words = MISUSES[misuse]
    with pytest.raises(kind, match=words):
        call(gpt2)
