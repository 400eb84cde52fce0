"""The likelihood of a language model against each text alone, and the loss of transformers."""

from collections import UserDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import fimetric as fm
from fimetric.extraction.intake import coarse_format_named
from fimetric.features.screening import UninformativeError
from fimetric.objectives import CausalLM

pytest.importorskip("transformers")
from language_models import MODELS, WORDS, Recurrent, language_model

TOKENS = torch.randint(3, WORDS, (4, 9), generator=torch.Generator().manual_seed(0))
LENGTHS = (6, 4, 9, 2)
TEXTS = [row[:length] for row, length in zip(TOKENS, LENGTHS, strict=True)]
SIDES = ("right", "left", "between")
# float64, but for the softmax of ALiBi models and a scan of Mamba in float32
LOSS, NORM = {"rtol": 1e-9, "atol": 0}, {"rtol": 1e-7, "atol": 1e-9}
COARSE = {"rtol": 3e-6, "atol": 1e-4}


@pytest.fixture(scope="module")
def gpt2():
    return language_model("gpt2")


def padded(texts, side, pad=0, width=10):
    """Return texts with their padding on one side, or between their tokens."""
    ids = torch.full((len(texts), width), pad)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(texts):
        n = len(text)
        places = {"right": range(n), "left": range(width - n, width)}
        place = list(places.get(side, [0, *range(width - n + 1, width)]))
        ids[row, place], mask[row, place] = text, 1
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("kind", MODELS)
def test_a_text_is_the_same_alone_and_in_any_padding(kind):
    model = language_model(kind)
    objective, norms = CausalLM(model), fm.GradientNorms(model)
    coarse = kind in ("gpt_neo", "bloom", "mpt", "mamba")
    alone = torch.stack([objective(text[None])[0] for text in TEXTS[:3]])
    wanted = norms(alone)
    sides = [padded(TEXTS[:3], side) for side in SIDES]
    losses = objective({key: torch.cat([batch[key] for batch in sides]) for key in sides[0]})
    for part, found in zip(losses.split(3), norms(losses).split(3), strict=True):
        torch.testing.assert_close(part, alone, **(COARSE if coarse else LOSS))
        torch.testing.assert_close(found, wanted, **(COARSE if coarse else NORM))


def test_loss_is_that_of_transformers_summed_over_tokens(gpt2):
    found = CausalLM(gpt2)(padded(TEXTS, "left"))
    for text, loss in zip(TEXTS, found.tolist(), strict=True):
        mean = gpt2(text[None], labels=text[None]).loss.item()  # in float32
        assert loss == pytest.approx((len(text) - 1) * mean, rel=1e-6)


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_has_no_dimensions(gpt2, side):
    found = CausalLM(gpt2).dimensions(padded(TEXTS, side))
    assert found.dtype == torch.int64 and found.tolist() == [5, 3, 8, 1]
    assert CausalLM(gpt2).dimensions(TOKENS).tolist() == [8] * 4


@pytest.mark.parametrize("pad", [0, 9, -100, WORDS, 10**9])
def test_what_pads_does_not_matter(gpt2, pad):
    wanted = CausalLM(gpt2)(padded(TEXTS, "left"))
    assert torch.equal(CausalLM(gpt2)(padded(TEXTS, "left", pad)), wanted)


def test_kinds_of_ids_and_masks(gpt2):
    batch = padded(TEXTS, "left")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    wanted = CausalLM(gpt2)(batch)
    for kind in (torch.bool, torch.int32, torch.float32):
        same = {"input_ids": ids.to(torch.int32), "attention_mask": mask.to(kind)}
        assert torch.equal(CausalLM(gpt2)(same), wanted)
    assert torch.equal(CausalLM(gpt2)(UserDict(batch)), wanted)  # as a tokenizer returns them


def test_position_ids_may_say_what_holds_without_them(gpt2):
    batch = padded(TEXTS, "left")
    counted = (batch["attention_mask"].cumsum(1) - 1).clamp_min(0)
    found = CausalLM(gpt2)({**batch, "position_ids": counted})
    assert torch.equal(found, CausalLM(gpt2)(batch))
    with pytest.raises(ValueError, match="leave them out"):
        CausalLM(gpt2)({**batch, "position_ids": torch.arange(10)[None]})
    with pytest.raises(ValueError, match="leave them out"):
        CausalLM(gpt2)({"input_ids": TOKENS, "position_ids": torch.arange(5)})


@pytest.mark.parametrize(
    ("batch", "rows"),
    [
        (TOKENS[:, :1], "rows 0, 1, 2, 3 of"),
        (TOKENS[:, :0], "rows 0, 1, 2, 3 of"),
        (padded([*TEXTS, TOKENS[0, :1]], "left"), "row 4 of"),
        (padded([TOKENS[0, :0], *TEXTS], "right"), "row 0 of"),
        (torch.ones(30, 1, dtype=torch.long), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 20 more rows of"),
    ],
)
def test_texts_with_nothing_to_predict_are_refused_by_row(gpt2, batch, rows):
    for call in (CausalLM(gpt2), CausalLM(gpt2).dimensions):
        with pytest.raises(ValueError, match=f"{rows} the batch: .* beginning-of-text token"):
            call(batch)


MASK = torch.ones_like(TOKENS)
MISUSES = {
    "no ids": ({"tokens": TOKENS}, ValueError, "no input_ids, only tokens"),
    "labels": (
        {"input_ids": TOKENS, "labels": TOKENS, "token_type_ids": MASK},
        ValueError,
        "labels, token_type_ids beside input_ids and attention_mask.*leave the others out",
    ),
    "lists": (TOKENS.tolist(), TypeError, 'not list; .*return_tensors="pt"'),
    "a dict of lists": ({"input_ids": TOKENS.tolist()}, TypeError, "not list"),
    "floats": (TOKENS.double(), TypeError, r"whole numbers such as int64, not torch\.float64"),
    "one text": (TOKENS[0], ValueError, r"\(N, T\), not \(9,\); .*input_ids\[None\]"),
    "three dimensions": (TOKENS[None], ValueError, r"\(N, T\), not \(1, 4, 9\)"),
    "no text": (TOKENS[:0], ValueError, r"\(0, 9\) hold no text"),
    "negative": (TOKENS - 40, ValueError, "row 0 .* token id -.*0 or more.*attention_mask"),
    "unknown": (
        torch.cat([TOKENS, torch.full_like(TOKENS[:1], WORDS)]),
        ValueError,
        f"row 4 of the batch has the token id {WORDS}; ids are 0 to 36. Take the tokenizer",
    ),
    "too long": (
        padded([TOKENS[0], TOKENS[0].repeat(4)], "left", width=40),
        ValueError,
        "row 1 of the batch has 36 tokens, the model has positions for 32; shorten",
    ),
    "another mask": (
        {"input_ids": TOKENS, "attention_mask": MASK[:, 1:]},
        ValueError,
        r"attention_mask has shape \(4, 8\), input_ids \(4, 9\)",
    ),
    "a list as mask": (
        {"input_ids": TOKENS, "attention_mask": MASK.tolist()},
        TypeError,
        "attention_mask must be a tensor .* not list",
    ),
    "a packed row": (
        {"input_ids": TOKENS, "attention_mask": 2 * MASK},
        ValueError,
        "values from 2 to 2; it must be 1 at tokens and 0 at padding.*packed row",
    ),
}


@pytest.mark.parametrize("misuse", MISUSES)
def test_misuses_are_told(gpt2, misuse):
    batch, kind, words = MISUSES[misuse]
    with pytest.raises(kind, match=words):
        CausalLM(gpt2)(batch)


def test_padding_is_no_length(gpt2):
    """Texts fit the model however wide the batch is."""
    wide = CausalLM(gpt2)(padded(TEXTS, "left", width=50))
    assert torch.equal(wide, CausalLM(gpt2)(padded(TEXTS, "left")))


FORMS = {
    "bare": lambda logits: logits,
    "tuple": lambda logits: (logits, "states"),
    "object": lambda logits: SimpleNamespace(logits=logits),
}


@pytest.mark.parametrize("form", FORMS)
def test_models_of_ones_own(form):
    model = Recurrent(FORMS[form])
    found = CausalLM(model)(padded(TEXTS, "left"))
    for text, loss in zip(TEXTS, found, strict=True):
        log_p = Recurrent()(text[None, :-1]).log_softmax(2)[0]
        wanted = -log_p.gather(1, text[1:, None]).sum()
        torch.testing.assert_close(loss, wanted, **LOSS)


@pytest.mark.parametrize(
    ("form", "kind", "words"),
    [
        (lambda logits: logits[:, 1:], ValueError, r"returns \(4, 8, 37\).*soft prompt"),
        (lambda logits: logits.mean(2), ValueError, r"returns \(4, 9\)"),
        (lambda logits: {"scores": logits}, TypeError, "returns dict; it must return logits"),
        (lambda logits: logits[..., :20], ValueError, "ids are 0 to 19"),
    ],
)
def test_outputs_that_are_no_logits_of_the_texts(form, kind, words, monkeypatch):
    model = Recurrent(form)
    monkeypatch.setattr("fimetric.objectives.language.refuse_foresight", lambda *_: None)
    with pytest.raises(kind, match=words):
        CausalLM(model)(TOKENS)


def test_ids_that_a_model_of_ones_own_does_not_know():
    with pytest.raises(ValueError, match=r"row 0 of the batch has the token id 99; ids are 0 to"):
        CausalLM(Recurrent())(torch.full((2, 9), 99))


def test_a_model_of_transformers_gets_its_input_by_name(gpt2):
    """Hooks of its users look for it there."""
    seen = []

    def hook(module, args, kwargs):
        seen.append((len(args), sorted(kwargs)))

    handle = gpt2.register_forward_pre_hook(hook, with_kwargs=True)
    CausalLM(gpt2)(TOKENS)
    handle.remove()
    assert set(map(str, seen)) == {"(0, ['input_ids', 'use_cache'])"}


def test_half_precision_sums_in_single():
    model = language_model("llama").bfloat16()
    losses = CausalLM(model)(TOKENS)
    logits = model(TOKENS).logits.double()[:, :-1].transpose(1, 2)
    wanted = nn.functional.cross_entropy(logits, TOKENS[:, 1:], reduction="none").sum(1)
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses.double(), wanted, rtol=1e-6, atol=0)


SIGHTED = {
    "bert": {"is_decoder": False},
    "xlnet": {"max_position_embeddings": None, "d_head": 8, "d_inner": 24},
}


@pytest.mark.parametrize(("kind", "options"), SIGHTED.items())
def test_models_that_see_the_tokens_they_predict_are_refused(kind, options):
    with pytest.raises(ValueError, match="is no causal language model"):
        CausalLM(language_model(kind, **options))(TOKENS)


FACTORS = {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
ROPES = {"dynamic": {}, "longrope": {"original_max_position_embeddings": 8, **FACTORS}}


@pytest.mark.parametrize("rope", ROPES)
def test_rotary_frequencies_that_follow_the_longest_text(rope):
    """With them the loss of one text would change with the others of its batch."""
    settings = {"rope_type": rope, "rope_theta": 1e4, "factor": 4.0, **ROPES[rope]}
    model = language_model("llama", rope_parameters=settings, max_position_embeddings=16)
    short, long = TOKENS[:2, :5], TOKENS.flatten()[None, :20]
    assert CausalLM(model)(short).isfinite().all()
    with pytest.raises(ValueError, match=rf"\({rope}\) are the same in every batch up to"):
        CausalLM(model)(padded([*short, long[0]], "right", width=20))


def test_training_mode_is_refused(gpt2):
    gpt2.train()
    try:
        with pytest.raises(RuntimeError, match=r"transformer\.drop \(Dropout\)"):
            CausalLM(gpt2)(TOKENS)
    finally:
        gpt2.eval()


def test_a_model_in_bfloat16_tells_texts_apart_as_in_float32():
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"vocab_size": 50, "n_positions": 64, "n_embd": 16, "n_layer": 4, "n_head": 4}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)).eval()
        texts = torch.randint(0, 50, (60, 40))
    scores = [
        fm.Detector(CausalLM(model.to(kind))).fit(texts).score(texts)
        for kind in (torch.float32, torch.bfloat16)
    ]
    assert np.corrcoef(*scores)[0, 1] > 0.95


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_only_a_coarse_number_format_is_named(kind):
    told = {torch.float16: "model is in float16", torch.bfloat16: "model is in bfloat16"}
    with (
        pytest.raises(UninformativeError, match=told.get(kind, "^nothing$")),
        coarse_format_named(nn.Linear(2, 2).to(kind)),
    ):
        raise UninformativeError("nothing")
