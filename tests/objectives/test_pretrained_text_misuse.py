# ruff: noqa: E501 (a row of the table is a line)
"""Misuses of pretrained language models: a folder, what is wrong with it, and what is said of it."""

import errno
import json
import shutil

import pytest
import torch
from torch import nn

from fimetric.objectives import from_pretrained

pytest.importorskip("transformers")
pytest.importorskip("peft")
pytest.importorskip("gguf")
from saved_text_models import TEXTS, adapted, build, gguf_llama, save, tokenizer, write_gguf

# of peft, which asks transformers by a former name, and draws at random what is missing
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Found missing adapter keys:UserWarning"),
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Sound folders, from which the others are made."""
    home = tmp_path_factory.mktemp("sound")
    save(home / "gpt2", "gpt2")
    save(home / "bert", "bert", "AutoModelForMaskedLM", "masked")
    save(home / "t5", "t5", "AutoModelForSeq2SeqLM", "seq2seq")
    adapted(home / "gpt2").save_pretrained(home / "lora")
    (home / "gguf").mkdir()
    write_gguf(gguf_llama(), tokenizer(), home / "gguf" / "tiny.gguf")
    return home


@pytest.fixture
def w(sound, tmp_path):
    """Return a copy of the sound folders, to be spoilt."""
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    return tmp_path


def edit(file, **entries):
    """Change entries of a JSON file, and return its folder."""
    said = json.loads(file.read_text())
    file.write_text(json.dumps({**said, **entries}))
    return file.parent


def cut(file, share):
    """Keep the beginning of a file, and return it."""
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    return file


def without(folder, pattern):
    """Remove files, and return the folder."""
    for file in folder.glob(pattern):
        file.unlink()
    return folder


def of_class(folder, auto):
    """Save a model of another class there."""
    build("bert", auto).save_pretrained(folder)
    return folder


def half_of_its_weights(folder):
    from safetensors.torch import load_file, save_file

    file = next(folder.glob("*.safetensors"))
    kept = dict(list(load_file(file).items())[:2])
    save_file(kept, file, {"format": "pt"})
    return folder


class Explosive(nn.Module):
    """What runs code where it is unpickled."""

    def __reduce__(self):
        return (print, ("code ran",))


def pickled(folder):
    torch.save({"x": Explosive()}, without(folder, "*.safetensors") / "pytorch_model.bin")
    return folder


def nested(folder):
    (folder / "config.json").write_text("[" * 100_000)
    return folder


def with_code(folder):
    (folder / "own.py").write_text("raise SystemExit('code ran')")
    return edit(folder / "config.json", auto_map={"AutoModelForCausalLM": "own.Model"})


TRANSFORMERS = {
    "damaged weights": (lambda w: cut(w / "gpt2" / "model.safetensors", 0.5).parent, {}, "gpt2 cannot be opened: Safetensor.*fetch it anew"),
    "no weights": (lambda w: without(w / "gpt2", "*.safetensors"), {}, "cannot be opened: OSError.*model.safetensors"),
    "half of the weights": (lambda w: half_of_its_weights(w / "gpt2"), {}, "no weights for .* and 26 more, which would be random"),
    "a layer more than its config says": (lambda w: edit(w / "gpt2" / "config.json", n_layer=1), {}, "no place for: transformer.h.1.attn.c_attn.weight and 10 more"),
    "weights of another width": (lambda w: edit(w / "gpt2" / "config.json", n_inner=20), {}, r"c_fc.bias of shape .64,., and its config.json says .20,."),
    "a damaged config": (lambda w: cut(w / "gpt2" / "config.json", 0.5).parent, {}, "config.json is damaged: it is no JSON"),
    "a config nested without end": (lambda w: nested(w / "gpt2"), {}, "config.json is damaged: it is no JSON"),
    "no parameters": (lambda w: w / "gpt2", {"parameters": []}, r"parameters=\[\] chooses none"),
    "a file without its function": (lambda w: with_code(w / "gpt2") / "own.py", {}, "own.py is a Python file; .*FILE.py:FUNCTION"),
    "pickled code": (lambda w: pickled(w / "gpt2"), {}, "^(?!.*weights_only).* cannot be opened: its weights are pickled, .* which can run code"),
    "no tokenizer": (lambda w: without(w / "gpt2", "tokenizer*"), {}, r"has no tokenizer; .*save_pretrained\(folder\)"),
    "a damaged tokenizer": (lambda w: cut(w / "gpt2" / "tokenizer.json", 0.5).parent, {}, "the tokenizer of .* cannot be opened"),
    "a classifier": (lambda w: of_class(w / "bert", "AutoModelForSequenceClassification"), {}, "is BertForSequenceClassification, a classifier, .* would do is BertLMHeadModel, BertForMaskedLM"),
    "an encoder": (lambda w: of_class(w / "bert", "AutoModel"), {}, "is BertModel, a model without the layer that predicts tokens"),
    "no class": (lambda w: edit(w / "bert" / "config.json", architectures=None), {}, "names no class under 'architectures'"),
    "code of its own": (lambda w: with_code(w / "gpt2"), {}, r"auto_map in config.json\).*is not run; .*trust_remote_code=True.*delete auto_map .* knows gpt2"),
    "a tokenizer's own code": (lambda w: edit(w / "gpt2" / "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.T", None]}), {}, r"auto_map in tokenizer_config.json\)"),
    "timesteps": (lambda w: w / "gpt2", {"timesteps": [1]}, r"timesteps=\[1\] does not concern a causal"),
    "positions of a causal model": (lambda w: w / "gpt2", {"positions": 3}, "positions=3 does not concern a causal language model .* which takes .*window"),
    "a window of a masked one": (lambda w: w / "bert", {"window": 9}, "window=9 does not concern a masked language model"),
    "a column of a causal one": (lambda w: w / "gpt2", {"condition": "label"}, "condition='label' does not concern"),
    "no number format": (lambda w: w / "gpt2", {"dtype": "int8"}, "dtype must be float32, bfloat16"),
    "a parameter that is not there": (lambda w: w / "gpt2", {"parameters": "*lora*"}, "no parameter of GPT2LMHeadModel fits"),
    "a revision of a folder": (lambda w: w / "gpt2", {"revision": "main"}, "is for models of the hub"),
}  # fmt: skip
PEFT = {
    "no base": (lambda w: edit(w / "lora" / "adapter_config.json", base_model_name_or_path=None), {}, "names no model that it was trained on; give base="),
    "a base that is not there": (lambda w: edit(w / "lora" / "adapter_config.json", base_model_name_or_path="/no/such/model"), {}, "was trained on /no/such/model, which is not there; give base="),
    "a base of another library": (lambda w: w / "lora", {"base": "tests"}, "the base tests is no folder of a transformers model"),
    "another base": (lambda w: w / "lora", {"base": "bert"}, "lora cannot be opened: .*give the base that it was trained on"),
    "damaged weights": (lambda w: cut(w / "lora" / "adapter_model.safetensors", 0.5).parent, {}, "lora cannot be opened"),
    "no weights": (lambda w: without(w / "lora", "*.safetensors"), {}, "lora has no weights: there is no adapter_model.safetensors"),
    "a layer more than its config says": (lambda w: edit(w / "lora" / "adapter_config.json", layers_to_transform=[0]), {}, "no place for: base_model.model.transformer.h.1.attn.c_attn.lora_A.weight and 1 more"),
    "half of the weights": (lambda w: half_of_its_weights(w / "lora"), {}, "has no weights for .* and 1 more"),
    "a classifier's": (lambda w: edit(w / "lora" / "adapter_config.json", task_type="SEQ_CLS"), {}, "adapter for the task 'SEQ_CLS'"),
    "an unknown kind": (lambda w: edit(w / "lora" / "adapter_config.json", peft_type="NEW"), {}, "of the kind 'NEW' .peft_type in adapter_config.json"),
    "several kinds": (lambda w: edit(w / "lora" / "adapter_config.json", peft_type=["LORA"]), {}, "of the kind ..LORA.. .peft_type in"),
    "positions": (lambda w: w / "lora", {"positions": 3}, "positions=3 does not concern a causal"),
}  # fmt: skip
GGUF = {
    "two files": (lambda w: shutil.copy(w / "gguf" / "tiny.gguf", w / "gguf" / "b.gguf").parent, {}, "has 2 GGUF files: b.gguf, tiny.gguf; name one"),
    "cut in its header": (lambda w: cut(w / "gguf" / "tiny.gguf", 0.1), {}, "tiny.gguf cannot be opened: .*fetch it anew"),
    "cut in its weights": (lambda w: cut(w / "gguf" / "tiny.gguf", 0.9), {}, "tiny.gguf cannot be opened: .*fetch it anew"),
    "no such file": (lambda w: w / "gguf" / "none.gguf", {}, "there is no .*none.gguf"),
    "another file": (lambda w: shutil.copy(w / "gpt2" / "config.json", w / "other.gguf"), {}, "other.gguf is no GGUF file"),
    "positions": (lambda w: w / "gguf", {"positions": 3}, "positions=3 does not concern a causal"),
    "trust": (lambda w: w / "gguf", {"trust_remote_code": True}, "trust_remote_code=True does not concern a GGUF file"),
}  # fmt: skip
MISUSES = {
    f"{loader}: {misuse}": row
    for loader, table in (("transformers", TRANSFORMERS), ("peft", PEFT), ("gguf", GGUF))
    for misuse, row in table.items()
}


@pytest.mark.parametrize("misuse", MISUSES)
def test_misused_language_models_are_told(w, misuse, capfd):
    spoil, asked, words = MISUSES[misuse]
    source = spoil(w)
    asked = {key: w / x if x == "bert" else x for key, x in asked.items()}
    with pytest.raises((ValueError, FileNotFoundError), match=f"(?s){words}"):
        from_pretrained(source, **asked)
    assert "code ran" not in capfd.readouterr().out


LONG = {
    "gpt2": "positions for 24; .*window=24",
    "bert": "positions for 24; shorten the text",
    "gguf": "positions for 24; .*window=24",
}


@pytest.mark.parametrize("name", LONG)
def test_texts_too_long_for_a_folders_model(sound, name):
    objective = from_pretrained(sound / name)
    with pytest.raises(ValueError, match=f"row 4 of the batch, 'the cat .* {LONG[name]}"):
        objective.prepare([*TEXTS, "the cat " * 40])


@pytest.mark.parametrize(
    ("name", "missing", "install"),
    [
        ("gpt2", "transformers", r"fimetric\[text\]"),
        ("lora", "peft", "peft"),
        ("gguf", "gguf", r"fimetric\[gguf\]"),
        ("gguf", "accelerate", r"fimetric\[gguf\]"),
    ],
)
def test_a_missing_library_is_named_with_what_installs_it(
    sound, name, missing, install, monkeypatch
):
    import importlib

    real = importlib.import_module

    def without_it(wanted):
        if wanted == missing:
            raise ModuleNotFoundError(f"No module named {wanted!r}", name=wanted)
        return real(wanted)

    monkeypatch.setattr("importlib.import_module", without_it)
    with pytest.raises(
        ImportError, match=f"{missing}, which cannot be imported .*; pip install '{install}'"
    ):
        from_pretrained(sound / name)


def test_a_full_disk_is_not_told_as_a_name_that_the_hub_does_not_know(monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.snapshot_download", full)
    with pytest.raises(OSError, match="No space left") as raised:
        from_pretrained("owner/name")
    assert raised.value.errno == errno.ENOSPC
