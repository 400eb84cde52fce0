"""A small GPT-2 of its own for each data set, trained within minutes; stopped, it goes on."""

import math
from pathlib import Path

import safetensors.torch
import torch
from stretches import LENGTH, TRAINING, stored
from tokenizers import ByteLevelBPETokenizer, Tokenizer
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from fimetric.progress import progress
from fimetric.store.files import whole_file

VOCABULARY = 1024
STEPS, WARM, BATCH, RATE = 1200, 50, 12, 1.5e-3
EVERY = 100  # steps between checkpoints


def tokenizer_of(data: str, folder: Path) -> Tokenizer:
    """Return a BPE of the rows that the model is trained on."""
    place = folder / "tokenizer.json"
    if not place.exists():
        made = ByteLevelBPETokenizer()
        texts = [row.text for row in stored(data, "train")[: TRAINING[data]]]
        made.train_from_iterator(texts, VOCABULARY, show_progress=False)
        with whole_file(place) as temporary:
            made.save(str(temporary))
    return Tokenizer.from_file(str(place))


def trained(data: str, folder: Path) -> tuple[GPT2LMHeadModel, Tokenizer]:
    """Return the model of a data set and its tokenizer, trained as far as it is not yet."""
    tokenizer = tokenizer_of(data, folder)
    torch.manual_seed(0)
    sizes = {"n_positions": LENGTH, "n_embd": 128, "n_layer": 3, "n_head": 4}
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    config = GPT2Config(vocab_size=VOCABULARY, **sizes, **ends, attn_implementation="eager")
    model = GPT2LMHeadModel(config)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, RATE, betas=(0.9, 0.95))
    place = folder / "checkpoint.safetensors"
    step = _read(place, model, optimizer) if place.exists() else 0
    texts = [row.text for row in stored(data, "train")[: TRAINING[data]]]
    tokens = torch.tensor([i for e in tokenizer.encode_batch(texts) for i in e.ids])
    with progress(f"training on {data}", STEPS, done=step) as advance:
        while step < STEPS:
            loss = _step(step, model, optimizer, tokens)
            step += 1
            advance(1, f"{loss:.3f} nats a token")
            if step % EVERY == 0:
                _write(place, model, optimizer, step)
    return model.eval(), tokenizer


def _step(step: int, model: nn.Module, optimizer: torch.optim.Optimizer, tokens: Tensor) -> float:
    model.train()
    torch.manual_seed(step)  # of the batch and of dropout, so that a call that goes on is the same
    starts = torch.randint(len(tokens) - LENGTH, (BATCH,)).tolist()
    batch = torch.stack([tokens[start : start + LENGTH] for start in starts])
    warm = min(1.0, (step + 1) / WARM)
    for group in optimizer.param_groups:
        group["lr"] = RATE * warm * (0.05 + 0.95 * (1 + math.cos(math.pi * step / STEPS)) / 2)
    loss = model(batch, labels=batch).loss
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def _write(place: Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    tensors = {f"p.{name}": p.detach() for name, p in model.named_parameters()}
    for name, p in model.named_parameters():
        state = optimizer.state[p]
        tensors |= {f"{key}.{name}": state[key] for key in ("exp_avg", "exp_avg_sq")}
    with whole_file(place) as temporary:
        safetensors.torch.save_file(tensors, temporary, {"step": str(step)})


def _read(place: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Bring model and optimiser to where they were, and return the step."""
    with safetensors.safe_open(place, "pt") as file:
        step = int(file.metadata()["step"])
        for name, p in model.named_parameters():
            p.data.copy_(file.get_tensor(f"p.{name}"))
            optimizer.state[p] = {
                "step": torch.tensor(float(step)),
                "exp_avg": file.get_tensor(f"exp_avg.{name}"),
                "exp_avg_sq": file.get_tensor(f"exp_avg_sq.{name}"),
            }
    return step
