"""What the examples of docs/models.md name, made small in the current folder."""

import json
from pathlib import Path

import numpy as np
import soundfile
import torch
import zuko
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

FLOW = """from pathlib import Path

import torch, zuko
import fimetric as fm


def objective():
    flow = zuko.flows.NSF(4, transforms=2, hidden_features=(32, 32))
    flow.load_state_dict(torch.load(Path(__file__).with_name("flow.pt"), weights_only=True))
    return fm.objectives.NegativeLogLikelihood(flow.eval())
"""
SOUND = '''import torch
import fimetric as fm


def objective():
    """A Gaussian of each sample of a sound, given sixteen before it."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv1d(1, 8, 17), torch.nn.SiLU(), torch.nn.Conv1d(8, 2, 1)
    ).eval()

    def losses(x):  # (N, T) -> (N,), nats
        past = torch.nn.functional.pad(x[:, None, :-1], (17, 0))
        mean, log_scale = net(past).unbind(1)
        return (0.5 * ((x - mean) / log_scale.exp()).square() + log_scale).sum(1)

    return fm.objectives.Objective(losses, net, name="gaussian of the next sample")
'''


def make_all(folder: Path) -> None:
    torch.manual_seed(0)
    texts = [f"{a} {b} and {c} went to the {d}" for a in NAMES for b in NAMES for c, d in PLACES]
    lines = (json.dumps({"id": str(i), "text": text}) for i, text in enumerate(texts))
    (folder / "texts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "new.jsonl").write_text('{"text": "Ada and 7 cats"}\n{"text": "0x7f 0x45 0x4c"}\n')
    gpt2(texts, folder / "my-gpt2")
    _ddpm(folder / "my-ddpm")
    (folder / "sounds").mkdir()
    draw = np.random.default_rng(0)
    for i in range(60):
        sound = draw.normal(0, 0.1, 200 + i % 3 * 40)
        soundfile.write(folder / "sounds" / f"{i}.wav", sound, 8000)
    flow = zuko.flows.NSF(4, transforms=2, hidden_features=(32, 32))
    torch.save(flow.state_dict(), folder / "flow.pt")
    rows = "\n".join(",".join(f"{x:.4f}" for x in row) for row in draw.normal(size=(80, 4)))
    (folder / "table.csv").write_text(f"a,b,c,d\n{rows}\n", encoding="utf-8")
    (folder / "new.csv").write_text("a,b,c,d\n0.1,0.2,0.3,0.4\n9,-9,9,-9\n")
    (folder / "flow.py").write_text(FLOW, encoding="utf-8")
    (folder / "sound.py").write_text(SOUND, encoding="utf-8")


NAMES = ("Ada", "Emmy", "Sofia", "Mary", "Grace", "Hypatia", "Maria", "Rosalind", "Lise", "Vera")
PLACES = (("a cat", "market"), ("the others", "old library by the river"), ("Joan", "sea"))


def gpt2(texts: list[str], folder: Path) -> None:
    """Save a small model that nobody trained, with a tokenizer of the texts."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<s>"], show_progress=False, initial_alphabet=alphabet
    )
    bpe.train_from_iterator(texts, trainer)
    PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>").save_pretrained(folder)
    config = GPT2Config(
        vocab_size=bpe.get_vocab_size(),
        n_embd=16,
        n_layer=1,
        n_head=2,
        n_positions=64,
        bos_token_id=0,
        eos_token_id=0,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)


def _ddpm(folder: Path) -> None:
    unet = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(8,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        norm_num_groups=4,
    )
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(folder)
