"""What files hold goes through a model as the same samples in memory do, one by one or together."""

import csv

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from torch import nn

import fimetric as fm
from fimetric.data import load
from fimetric.objectives import Objective
from objectives.saved_text_models import build

N = 24
WORDS = ["a", "quick", "brown fox", "jumps", "over the lazy dog"]
TEXTS = [f"{WORDS[i % 5]} {i}" for i in range(N)]


def test_texts_of_files_and_tables_are_scored_as_a_list_is(letters, tmp_path):
    frame = pd.DataFrame({"text": TEXTS, "label": range(N), "stars": range(N)})
    frame.to_csv(tmp_path / "t.csv", quoting=csv.QUOTE_ALL)
    frame.to_parquet(tmp_path / "t.parquet")
    (tmp_path / "t.txt").write_text("\n".join(TEXTS))
    expected = fm.extract(letters, TEXTS, 5, progress=False)
    files = [load(tmp_path / f"t.{suffix}") for suffix in ("csv", "parquet", "txt")]
    for data in (frame, frame["text"], np.array(TEXTS), tuple(TEXTS), iter(TEXTS), *files):
        found = fm.extract(letters, data, 5, progress=False)
        np.testing.assert_array_equal(found.values, expected.values)
    assert list(found.ids) == [f"t/{i}" for i in range(N)]
    detector = fm.Detector(letters).fit(files[0])
    np.testing.assert_array_equal(detector.score(frame), detector.score(TEXTS))


def test_a_model_of_pictures_refuses_texts_by_name(tmp_path):
    (tmp_path / "t.txt").write_text("\n".join(TEXTS))
    model = nn.Linear(4, 4)
    objective = Objective(lambda x: (model(x) - x).square().sum(1), model)
    with pytest.raises(TypeError, match="tokenise texts first"):
        fm.extract(objective, load(tmp_path / "t.txt"), progress=False)


@pytest.fixture
def sounds():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(1, 4, 5), nn.Tanh(), nn.Conv1d(4, 1, 5)).double()
    return Objective(lambda x: model(x[:, None]).square().sum((1, 2)), model)


def test_clips_of_any_length_come_in_their_order_as_alone(sounds, tmp_path):
    rng = np.random.default_rng(0)
    for i in range(N):
        soundfile.write(tmp_path / f"{i:02}.wav", rng.uniform(-1, 1, 60 + 10 * (i % 3)), 8000)
    clips = load(tmp_path)
    found = fm.extract(sounds, clips, 5, progress=False)
    assert list(found.ids) == [f"{i:02}.wav" for i in range(N)]
    alone = [fm.extract(sounds, clip[None], progress=False) for clip in clips.raw(range(N))]
    rows = np.concatenate([table.values for table in alone])
    np.testing.assert_allclose(found.values, rows, rtol=1e-5)
    detector = fm.Detector(sounds).fit(clips)
    assert detector.spec_.rate == 8000 and detector.spec_.shape == (None,)
    scores = detector.score(clips.raw(range(N)))  # in memory no rate is known
    np.testing.assert_allclose(scores, detector.score(clips), rtol=1e-9)
    with pytest.raises(ValueError, match="16000 values a second, where 8000 are expected"):
        detector.score(load(tmp_path, rate=16000))
    detector.save(tmp_path / "detector")
    assert fm.Detector.load(tmp_path / "detector", sounds).spec_ == detector.spec_


def test_a_table_of_other_columns_is_refused(tmp_path):
    model = nn.Linear(3, 3)
    objective = Objective(lambda x: (model(x) - x).square().sum(1), model)
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3)), columns=["p", "q", "r"])
    frame.to_csv(tmp_path / "t.csv", index=False)
    detector = fm.Detector(objective).fit(load(tmp_path / "t.csv"))
    assert detector.spec_.columns == ("p", "q", "r")
    np.testing.assert_allclose(
        detector.score(frame.astype(np.float32)), detector.score(load(tmp_path / "t.csv"))
    )
    frame[["q", "p", "r"]].to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ValueError, match="they stand in another order; pass 'p', 'q', 'r'"):
        detector.score(load(tmp_path / "t.csv"))


def test_texts_of_two_tokens_are_no_dependence_on_the_batch():
    """Attention to a single token has no gradient, but for what a fused kernel rounds."""
    model = build("llama", "AutoModelForCausalLM", hidden_size=32)
    tokens = torch.randint(4, 64, (6, 9))
    mask = torch.ones_like(tokens)
    mask[[0, 2, 5], 2:] = 0
    texts = {"input_ids": tokens, "attention_mask": mask}
    features = fm.extract(fm.objectives.CausalLM(model), texts, progress=False)
    assert features.dimensions.tolist() == [1, 8, 1, 8, 8, 1]
