"""The likelihood of a language model against the loss of transformers."""

import pytest
import torch

from fimetric.objectives import CausalLM

transformers = pytest.importorskip("transformers")
TOKENS = torch.randint(11, (3, 7), generator=torch.Generator().manual_seed(0))
# float64; the padded batch goes through other matrix products
EXACT = {"rtol": 1e-9, "atol": 1e-9}


@pytest.fixture(scope="module")
def model():
    config = transformers.GPT2Config(
        vocab_size=11,
        n_positions=16,
        n_embd=8,
        n_layer=2,
        n_head=2,
        attn_implementation="eager",
        bos_token_id=1,
        eos_token_id=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = transformers.GPT2LMHeadModel(config).double().eval()
        with torch.no_grad():
            for p in made.parameters():
                p += 0.3 * torch.randn_like(p)
    return made


def test_loss_is_that_of_transformers_summed_over_tokens(model):
    found = CausalLM(model)(TOKENS)
    for row, loss in zip(TOKENS.split(1), found.tolist(), strict=True):
        mean = model(row, labels=row).loss.item()  # over 6 tokens, in float32
        assert loss == pytest.approx(6 * mean, rel=1e-6)
    assert CausalLM(model).dimensions(TOKENS).tolist() == [6] * len(TOKENS)


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_changes_nothing(model, side):
    keep = torch.tensor([7, 4, 2])
    place = torch.arange(7) if side == "right" else torch.arange(6, -1, -1)
    mask = (place < keep[:, None]).long()
    batch = {
        "attention_mask": mask,
        "input_ids": torch.where(mask.bool(), TOKENS, 5),
        "position_ids": (mask.cumsum(1) - 1).clamp_min(0),
    }
    found = CausalLM(model)(batch)
    for row, m, loss in zip(TOKENS, mask.bool(), found, strict=True):
        torch.testing.assert_close(loss, CausalLM(model)(row[m][None])[0], **EXACT)


def test_what_pads_does_not_matter(model):
    mask = (torch.arange(7) < torch.tensor([[5], [6], [7]])).long()
    found = [
        CausalLM(model)(
            {"input_ids": torch.where(mask.bool(), TOKENS, pad), "attention_mask": mask}
        )
        for pad in (0, 9)
    ]
    torch.testing.assert_close(*found, **EXACT)


def test_training_mode_is_refused(model):
    model.train()
    try:
        with pytest.raises(RuntimeError, match=r"transformer\.drop \(Dropout\)"):
            CausalLM(model)(TOKENS)
    finally:
        model.eval()


def test_batch_without_tokens(model):
    with pytest.raises(ValueError, match="no input_ids, only tokens"):
        CausalLM(model)({"tokens": TOKENS})
