"""The claim is run, judged and drawn; that the report is right is tested in tests/fisher."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fimetric.claims import invariance as claim
from fimetric.claims.finding import Finding
from fimetric.claims.invariance import invariance, suitable
from fimetric.claims.study import Study
from fimetric.data import Samples
from fimetric.fisher.representations import HSV, Representation, TrainableAffine, dequantised
from fimetric.models import build
from fimetric.objectives import CausalLM, NegativeLogLikelihood, standard_objective


def study(tmp_path, samples: Samples, kind: str = "vae") -> Study:
    model = build(kind, "tiny", samples.shape).eval()
    return Study(standard_objective(model), samples, {}, None, tmp_path, limit=20, progress=False)


def images(channels: int = 3, n: int = 24) -> Samples:
    g = torch.Generator().manual_seed(0)
    values = torch.randint(256, (n, channels, 8, 8), generator=g, dtype=torch.uint8)
    values[:, :, 0, 0] = 7  # one grey pixel each
    return Samples(values, name="squares")


def names(maps: list[Representation]) -> list[str]:
    return [transform.name for transform in maps]


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> tuple[Finding, Study, str]:
    folder = tmp_path_factory.mktemp("claim")
    case = study(folder, images())
    result = invariance(case, folder)
    assert result is not None
    return result, case, folder


def test_it_holds_for_all_maps_and_fails_for_the_control(found):
    finding = found[0]
    assert finding.verdict == "holds" and "the control fails, as it must" in finding.because
    rows = finding.tables[0].rows
    assert [row[0] for row in rows] == [
        "affine per channel",
        "permutation",
        "logit",
        "RGB to YCbCr",
        "RGB to HSV",
        "affine with trainable scale",
    ]
    assert [row[1] for row in rows] == ["yes"] * 5 + ["NO"]
    assert rows[-1][3] == "representation.log_scale"
    assert finding.numbers["RGB to HSV: singular pixels"] > 0
    assert "likelihood bound is no likelihood" in " ".join(finding.notes)
    assert "|" not in "".join(finding.tables[0].headings)  # would break the table


def test_the_picture_is_drawn_of_the_changes_by_hsv(found, monkeypatch):
    finding, case, folder = found
    drawn = []
    monkeypatch.setattr(claim, "change_histogram", lambda *arguments: drawn.append(arguments))
    monkeypatch.setattr(claim, "CHUNK", 7)
    claim._picture(case.sets["squares"], folder, 3)
    (path, bits, change, data), x = drawn[0], case.sets["squares"].tensor()
    assert (path, change, data) == (folder / "change.png", "RGB to HSV", "squares")
    generator = torch.Generator().manual_seed(3)
    x = torch.cat([dequantised(part, 256, generator) for part in x.split(7)])
    expected = HSV()(x).log_det.numpy() / (192 * np.log(2))
    np.testing.assert_allclose(bits, expected, rtol=1e-12)
    assert [p.file for p in finding.pictures] == ["change.png"]
    assert (folder / "change.png").stat().st_size > 1000


def test_a_control_that_passes_spoils_the_claim(found, tmp_path, monkeypatch):
    reports = claim.invariance_reports

    class Frozen(TrainableAffine):
        def __init__(self, channels: int) -> None:
            super().__init__(channels)
            self.log_scale.requires_grad_(False)

    monkeypatch.setattr(claim, "suitable", lambda samples: [HSV()])
    with monkeypatch.context() as patch:
        patch.setattr(claim, "TrainableAffine", Frozen)
        finding = invariance(found[1], tmp_path)
    assert finding.verdict == "does not hold" and "the measurement sees nothing" in finding.because

    def broken(*arguments):
        first, *others = reports(*arguments)
        return [replace(first, round_trip=1e-3), *others]

    monkeypatch.setattr(claim, "invariance_reports", broken)
    finding = invariance(found[1], tmp_path)
    assert finding.verdict == "does not hold" and "the inverse misses x by 0.001" in finding.because


def test_maps_that_suit_the_data(monkeypatch):
    plain = ["affine per channel", "permutation", "logit"]
    assert names(suitable(images(1))) == plain
    assert names(suitable(images(3))) == [*plain, "RGB to YCbCr", "RGB to HSV"]
    assert names(suitable(Samples(torch.randn(5, 3)))) == plain[:2]
    assert names(suitable(Samples(torch.rand(5, 3)))) == plain
    assert names(suitable(Samples(torch.zeros(2, 3, 64, 64)))) == [
        "affine per channel",
        "logit",
        "RGB to YCbCr",
        "RGB to HSV",
    ]


def test_vectors_of_a_continuous_density(tmp_path):
    class Gaussian(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean = torch.nn.Parameter(torch.zeros(3))

        def log_prob(self, x):
            return -0.5 * (x - self.mean).square().sum(1)

    data = Samples(torch.randn(9, 3, generator=torch.Generator().manual_seed(0)))
    case = Study(NegativeLogLikelihood(Gaussian()), data, {}, None, tmp_path, progress=False)
    finding = invariance(case, tmp_path)
    assert finding.verdict == "holds" and not finding.pictures
    assert "continuous as they are" in finding.notes[0]


def test_grey_images_are_drawn_by_logit(tmp_path):
    finding = invariance(study(tmp_path, images(1)), tmp_path)
    assert (
        finding.verdict == "holds"
        and "logit adds to the code length" in finding.pictures[0].caption
    )


def test_language_models_are_not_its_concern(tmp_path):
    objective = CausalLM(torch.nn.Linear(2, 2))
    assert invariance(Study(objective, images(), {}, None, tmp_path), tmp_path) is None
