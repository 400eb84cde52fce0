"""Language models saved by the real libraries, opened where they lie, against autograd."""

import json
import shutil
import socket

import pandas as pd
import pytest
import torch
from torch import nn

import fimetric as fm
from fimetric.fingerprint.model import model_fingerprint
from fimetric.objectives import CausalLM, MaskedLM, Objective, Seq2SeqLM, from_pretrained
from fimetric.objectives.pretrained.places import here_alone

pytest.importorskip("transformers")
pytest.importorskip("peft")
pytest.importorskip("gguf")
import transformers
from safetensors.torch import load_file, save_file
from saved_text_models import (
    CAUSAL,
    MASKED,
    SEQ2SEQ,
    TEXTS,
    adapted,
    gguf_llama,
    save,
    tokenizer,
    write_gguf,
)

MANY = [f"{text} {i}" for i in range(20) for text in TEXTS[1::2]]

# of peft, which asks transformers by a former name
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One folder of each loader and kind of model."""
    home = tmp_path_factory.mktemp("pretrained")
    for kind in ("gpt2", "llama"):
        save(home / kind, kind)
    save(home / "bert", "bert", "AutoModelForMaskedLM", "masked")
    save(home / "t5", "t5", "AutoModelForSeq2SeqLM", "seq2seq")
    (home / "gguf").mkdir()
    write_gguf(gguf_llama(), tokenizer(), home / "gguf" / "tiny.gguf")
    adapted(home / "gpt2").save_pretrained(home / "lora")
    return home


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    """See that a folder on this machine makes no network call, nor tries to."""
    calls = []
    monkeypatch.setattr(socket.socket, "connect", lambda *given: calls.append(given))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **_: calls.append(given) or [])
    yield
    assert not calls


def assert_exact(objective: Objective, rtol=1e-5):
    """Compare norms of a batch of strings with a loop of autograd over its texts."""
    batch = objective.prepare(TEXTS)
    named = [(n, p) for n, p in objective.module.named_parameters() if p.requires_grad]
    norms = fm.GradientNorms(objective.module)
    found = norms(objective(batch))
    assert norms.names == [name for name, _ in named]
    for text, row in zip(TEXTS, found, strict=True):
        loss = objective(objective.prepare([text])).sum()
        gradients = torch.autograd.grad(loss, [p for _, p in named], allow_unused=True)
        wanted = [0.0 if g is None else g.double().square().sum().item() for g in gradients]
        torch.testing.assert_close(
            row.double(), torch.tensor(wanted).double(), rtol=rtol, atol=1e-7
        )


@pytest.mark.parametrize("kind", CAUSAL)
def test_causal_models_of_many_kinds(kind, tmp_path):
    folder = save(tmp_path / kind, kind)
    objective = from_pretrained(folder)
    assert isinstance(objective, CausalLM) and not objective.module.training
    assert_exact(objective)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    words = transformers.AutoTokenizer.from_pretrained(folder)
    ids = words(TEXTS[0], return_tensors="pt")["input_ids"]
    wanted = theirs(ids, labels=ids).loss * (ids.shape[1] - 1)
    found = objective(objective.prepare(TEXTS[:1]))[0]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=0)


OTHERS = {
    **dict.fromkeys(MASKED, ("AutoModelForMaskedLM", "masked", MaskedLM)),
    **dict.fromkeys(SEQ2SEQ, ("AutoModelForSeq2SeqLM", "seq2seq", Seq2SeqLM)),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_masked_and_sequence_to_sequence_models(kind, tmp_path):
    auto, words, loss = OTHERS[kind]
    objective = from_pretrained(save(tmp_path / kind, kind, auto, words))
    assert type(objective) is loss
    assert_exact(objective)


@pytest.mark.parametrize("name", ["gpt2", "bert", "t5", "lora", "gguf"])
def test_a_detector_on_strings_of_each_loader(folders, name):
    asked = {"gpt2": {"window": 12}, "bert": {"positions": 3}}.get(name, {})
    objective = from_pretrained(folders / name, **asked)
    detector = fm.Detector(objective).fit(MANY)
    new = ["a bird ran", "the cats sat in the night"]
    assert (detector.p_value(new) <= 1).all() and len(detector.score(new)) == 2


LONG = "the cat " * 40
REFUSED = {  # where a row is refused -> model, condition, column, what it holds, words
    "as it is prepared": ("gpt2", None, "text", LONG, "r33, 'the cat .* has 82 tokens, the model"),
    "as it is told": ("t5", "article", "article", 3, "r33 is 3, and must be a text"),
    "by the loss": ("bert", None, "text", "[SEP]", "r33: a text of special tokens alone"),
}


@pytest.mark.parametrize("where", REFUSED)
def test_a_sample_is_refused_by_its_name(folders, where):
    """What is sorted by length, and read a portion at a time, has rows of another number."""
    name, condition, column, wrong, said = REFUSED[where]
    objective = from_pretrained(folders / name, condition=condition)
    columns = {"text": MANY, **({condition: [TEXTS[0]] * len(MANY)} if condition else {})}
    columns[column] = [wrong if i == 33 else text for i, text in enumerate(columns[column])]
    frame = pd.DataFrame(columns, index=[f"r{i}" for i in range(len(MANY))])
    fm.extract(objective, frame[:33], 4, progress=False)
    with pytest.raises((ValueError, TypeError), match=f"sample {said}"):
        fm.extract(objective, frame, 4, progress=False)


def test_what_was_asked_for_reaches_the_objective(folders, caplog):
    assert from_pretrained(folders / "gpt2", window=7).window == 7
    masked = from_pretrained(folders / "bert", positions=3, seed=5)
    assert (masked.positions, masked.seed) == (3, 5)
    told = from_pretrained(folders / "t5", condition="source")
    assert told.condition == "source"
    assert told.opened.kind == "transformers" and told.opened.asked == {"condition": "source"}
    assert told.opened.source == str((folders / "t5").resolve()) and not told.opened.code
    assert "empty source" not in caplog.text and from_pretrained(folders / "t5")
    assert caplog.text.count("of an empty source, tokens [6]") == 1


@pytest.mark.parametrize("name", ["gpt2", "lora", "gguf"])
def test_a_model_is_the_same_wherever_it_lies(folders, name, tmp_path):
    there = tmp_path / "moved"
    shutil.copytree(folders, there)
    (there / "gguf" / "tiny.gguf").rename(there / "gguf" / "other.gguf")
    here, moved = from_pretrained(folders / name), from_pretrained(there / name)
    assert here.describe() == moved.describe()
    assert model_fingerprint(here) == model_fingerprint(moved)


def test_the_number_format_is_that_asked_for_and_losses_are_wider(folders):
    objective = from_pretrained(folders / "gpt2", dtype="bfloat16")
    assert {p.dtype for p in objective.module.parameters()} == {torch.bfloat16}
    assert objective(objective.prepare(TEXTS)).dtype == torch.float32
    half = transformers.AutoModelForCausalLM.from_pretrained(folders / "gpt2").half()
    half.save_pretrained(folders / "half")
    tokenizer().save_pretrained(folders / "half")
    found = from_pretrained(folders / "half")
    assert {p.dtype for p in found.module.parameters()} == {torch.float32}


PATTERNS = {
    "layer norms": ("*.ln_*.weight", 5),
    "the last block": (["transformer.h.1.*"], 12),
    "two patterns": (["*wpe*", "*ln_f*"], 3),
}


@pytest.mark.parametrize("what", PATTERNS)
def test_only_the_chosen_parameters_are_columns(folders, what):
    patterns, number = PATTERNS[what]
    objective = from_pretrained(folders / "gpt2", parameters=patterns)
    assert len(fm.GradientNorms(objective.module).names) == number
    assert_exact(objective)


def test_only_adapters_are_columns_and_the_base_is_found(folders):
    objective = from_pretrained(folders / "lora")
    names = fm.GradientNorms(objective.module).names
    assert len(names) == 4 and all("lora_" in name for name in names)
    assert_exact(objective)
    theirs = adapted(folders / "gpt2")
    theirs.load_adapter(folders / "lora", "default", is_trainable=True)
    ours = from_pretrained(folders / "lora", base=folders / "gpt2", parameters="*lora_A*")
    assert len(fm.GradientNorms(ours.module).names) == 2
    wanted = CausalLM(theirs.eval(), tokenizer())
    torch.testing.assert_close(ours(ours.prepare(TEXTS)), wanted(wanted.prepare(TEXTS)))


@pytest.mark.parametrize("named", ["../gpt2", "gpt2", "owner/of-the-hub"])
def test_a_base_is_seen_from_its_adapter_and_the_hub_is_not_asked(
    folders, named, tmp_path, monkeypatch
):
    for name in ("gpt2", "lora"):
        shutil.copytree(folders / name, tmp_path / "all" / name)
    said = tmp_path / "all" / "lora" / "adapter_config.json"
    said.write_text(json.dumps({**json.loads(said.read_text()), "base_model_name_or_path": named}))
    monkeypatch.chdir(folders)  # where gpt2 is another
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    given = {"base": tmp_path / "all" / "gpt2"} if "hub" in named else {}
    objective = from_pretrained(tmp_path / "all" / "lora", **given)
    assert objective.opened.asked == {"base": str((tmp_path / "all" / "gpt2").resolve())}
    fm.Detector(objective).fit(MANY).save(tmp_path / "all" / "detector")
    scores = fm.Detector.load(tmp_path / "all" / "detector").score(TEXTS)
    (tmp_path / "all").rename(tmp_path / "away")
    moved = fm.Detector.load(tmp_path / "away" / "detector")
    torch.testing.assert_close(moved.score(TEXTS), scores)


def test_the_base_of_the_hub_is_remembered_with_its_commit(folders, tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    models = tmp_path / "hub" / "models--owner--gpt2"
    shutil.copytree(folders / "gpt2", models / "snapshots" / commit)
    (models / "refs").mkdir()
    (models / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with here_alone():
        objective = from_pretrained(folders / "lora", base="owner/gpt2")
    assert objective.opened.asked == {"base": f"owner/gpt2@{commit}"}
    fm.Detector(objective).fit(MANY).save(tmp_path / "detector")
    (models / "refs" / "main").write_text("another")
    again = fm.Detector.load(tmp_path / "detector")
    assert again.objective.opened == objective.opened


def test_a_file_of_gguf_is_the_model_that_was_written(folders):
    objective = from_pretrained(folders / "gguf" / "tiny.gguf")
    assert objective.opened.kind == "gguf"
    assert_exact(objective)
    written = CausalLM(gguf_llama(), tokenizer())
    wanted, found = (o(o.prepare(TEXTS)) for o in (written, objective))
    torch.testing.assert_close(found, wanted, rtol=2e-3, atol=0)  # of 8 bits


def test_a_config_may_hold_numbers_that_python_alone_writes(folders, tmp_path):
    folder = shutil.copytree(folders / "gpt2", tmp_path / "gpt2")
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**said, "a": float("inf"), "b": float("nan")}))
    assert isinstance(from_pretrained(folder), CausalLM)


def test_weights_of_another_task_are_left_out_and_said(folders, tmp_path, caplog):
    folder = shutil.copytree(folders / "bert", tmp_path / "bert")
    file, pooler = folder / "model.safetensors", {"bert.pooler.dense.bias": torch.ones(16)}
    save_file(load_file(file) | pooler, file, {"format": "pt"})
    found, before = (from_pretrained(each) for each in (folder, folders / "bert"))
    assert model_fingerprint(found) == model_fingerprint(before)
    assert caplog.text.count("does not use, as the heads of other tasks: bert.pooler") == 1


def test_weights_saved_by_torch_alone(folders, tmp_path):
    shutil.copytree(folders / "gpt2", tmp_path / "old")
    state = transformers.AutoModelForCausalLM.from_pretrained(folders / "gpt2").state_dict()
    (tmp_path / "old" / "model.safetensors").unlink()
    torch.save(state, tmp_path / "old" / "pytorch_model.bin")
    old, new = from_pretrained(tmp_path / "old"), from_pretrained(folders / "gpt2")
    assert model_fingerprint(old) == model_fingerprint(new)


OWN = """
from transformers import GPT2Config, GPT2LMHeadModel

class OwnConfig(GPT2Config):
    model_type = "own"

class Own(GPT2LMHeadModel):
    config_class = OwnConfig
"""


def test_code_beside_a_model_runs_only_where_it_is_trusted(folders, tmp_path, monkeypatch):
    modules = transformers.dynamic_module_utils
    monkeypatch.setattr(modules, "HF_MODULES_CACHE", str(tmp_path / "cache"))
    folder = shutil.copytree(folders / "gpt2", tmp_path / "own")
    (folder / "own.py").write_text(OWN)
    said = json.loads((folder / "config.json").read_text())
    code = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.Own"}
    said |= {"model_type": "own", "architectures": ["Own"], "auto_map": code}
    (folder / "config.json").write_text(json.dumps(said))
    with pytest.raises(ValueError, match=r"trust_remote_code=True .*to run it$"):
        from_pretrained(folder)
    assert not (tmp_path / "cache").exists()
    objective = from_pretrained(folder, trust_remote_code=True)
    assert type(objective.module).__name__ == "Own" and objective.opened.code
    plain = from_pretrained(folders / "gpt2")
    torch.testing.assert_close(objective(plain.prepare(TEXTS)), plain(plain.prepare(TEXTS)))


class Quantised(nn.Module):
    """A linear map in 8 bits, and a LoRA that is not."""

    def __init__(self, linear):
        super().__init__()
        scale = linear.weight.detach().abs().max() / 127
        whole = (linear.weight.detach() / scale).round().to(torch.int8)
        self.weight = nn.Parameter(whole, requires_grad=False)
        self.register_buffer("scale", scale)
        self.lora_A = nn.Parameter(0.1 * torch.randn(2, linear.in_features))
        self.lora_B = nn.Parameter(0.1 * torch.randn(linear.out_features, 2))

    def forward(self, x):
        return x @ (self.weight * self.scale).T + x @ self.lora_A.T @ self.lora_B.T


def test_a_quantised_frozen_base_with_adapters(folders):
    objective = from_pretrained(folders / "llama", parameters="*norm*")
    for layer in objective.module.model.layers:
        layer.mlp.up_proj = Quantised(layer.mlp.up_proj)
    names = fm.GradientNorms(objective.module).names
    assert sum("lora_" in name for name in names) == 4
    assert_exact(objective)
    assert len(fm.Detector(objective).fit(MANY).score(MANY[:3])) == 3
