"""Who asks a family for a model of samples that it does not take is told which families do."""

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from fimetric.cli import app
from fimetric.data import Samples, Texts, load
from fimetric.models import FAMILIES, build_for
from fimetric.models.family import SAMPLES


@pytest.fixture
def sounds(tmp_path):
    for i in range(3):
        soundfile.write(tmp_path / f"{i}.wav", np.zeros(64), 8000)
    return load(tmp_path)


@pytest.fixture
def held(sounds):
    """Samples -> what they are called, and the families that take them."""
    rows = Samples(torch.zeros(3, 4), columns=["a", "b", "c", "d"])
    images = ["vae", "glow", "diffusion", "flow-matching", "pixelcnn"]
    return {
        Texts(["a"] * 3): ("texts", ["transformer"]),
        sounds: ("sounds", ["wavenet", "spectrogram"]),
        Samples(torch.zeros(3, 1, 8, 8)): (r"pictures of shape \(1, 8, 8\)", images),
        rows: ("rows of 4 columns", ["nsf"]),
        Samples(torch.zeros(3, 4)): ("rows of 4 numbers", ["wavenet", "spectrogram", "nsf"]),
        Samples(torch.zeros(3, 4, 4)): (r"samples of shape \(4, 4\)", []),
    }


@pytest.mark.parametrize("kind", FAMILIES)
def test_samples_of_another_kind_are_refused_with_the_families_that_take_them(kind, held):
    sides = SAMPLES[FAMILIES[kind].samples]
    refused = 0
    for samples, (words, takers) in held.items():
        texts = isinstance(samples, Texts)
        fits = not texts and kind != "transformer" and len(samples.shape) == len(sides)
        if kind in takers or fits:
            continue
        refused += 1
        said = (
            rf"{kind} is a model of {FAMILIES[kind].samples} \({', '.join(sides)}\), and "
            rf"{samples.name} holds {words}; give {FAMILIES[kind].samples}; "
            + (f"such data are taken by {', '.join(takers)}$" if takers else "no family takes such")
        )
        with pytest.raises(TypeError, match=said):
            build_for(kind, "tiny", samples)
    assert refused >= 3


@pytest.mark.parametrize("kind", ["wavenet", "spectrogram"])
def test_clips_of_several_lengths_are_refused_with_what_to_do(kind, tmp_path):
    (tmp_path / "clips").mkdir()
    for i, n in enumerate((8000, 4000, 12000)):
        soundfile.write(tmp_path / "clips" / f"{i}.wav", np.zeros(n), 8000)
    line = ["train", kind, "--data", str(tmp_path / "clips"), "--out", str(tmp_path / "new")]
    found = CliRunner().invoke(app, line)
    assert found.exit_code == 1 and not (tmp_path / "new").exists()
    assert found.stderr == (
        f"error: {kind} takes clips of one length, and those of clips have 4000 to 12000 values "
        "(0.5 to 1.5 seconds); cut them to one length, such as 4000 values\n"
    )
