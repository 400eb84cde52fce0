"""Samples of different length: brought to one, judged among their like, marked where too far."""

import csv
import logging
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

import fimetric as fm
from fimetric.calibration import Calibration
from fimetric.detection.judge import Judge
from fimetric.detection.saved import COVARIATE, EDGES, KIND
from fimetric.detection.scoring import write_scores
from fimetric.detectors import DEFAULT, OF_ANY_TABLE, create
from fimetric.features.length import LengthTrend, lengths
from fimetric.objectives import CausalLM
from fimetric.store import archive


class Bigrams(nn.Module):
    """Tells the next token by the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(11, 6), nn.Linear(6, 11)

    def forward(self, tokens):
        return self.head(self.table(tokens).tanh())


def texts(n, seed, shortest=8, longest=40):
    """Return token ids under a mask, of lengths that are uniform in the logarithm."""
    random = np.random.default_rng(seed)
    T = np.exp(random.uniform(np.log(shortest), np.log(longest + 1), n)).astype(int)
    mask = np.arange(T.max()) < T[:, None]
    tokens = np.where(mask, random.integers(0, 11, mask.shape), 0)
    return {"input_ids": torch.tensor(tokens), "attention_mask": torch.tensor(mask).long()}


@pytest.fixture(scope="module")
def objective():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CausalLM(Bigrams())


@pytest.fixture(scope="module")
def tables(objective):
    """Return features to fit on, to calibrate on, and others."""
    sizes = ((400, 1), (600, 2), (300, 3))
    return [
        fm.extract(objective, texts(n, seed), progress=False, parts="free") for n, seed in sizes
    ]


@pytest.fixture(scope="module")
def detector(objective, tables):
    return fm.Detector(objective).fit(tables[0], calibration=tables[1])


@pytest.mark.parametrize("name", OF_ANY_TABLE)
@pytest.mark.parametrize("size", [1, 3])
def test_one_length_gives_the_numbers_of_density_and_calibration_alone(make_features, name, size):
    rows, held_out, other = (
        make_features(n, group_size=size, seed=seed) for n, seed in ((60, 0), (250, 1), (30, 2))
    )
    density = create(name).fit(rows)
    judge = Judge.fit(create(name), rows)
    assert judge.trend is None
    plain = Calibration(density.score(held_out))
    judge = replace(judge, calibration=judge.calibrated(held_out))
    np.testing.assert_array_equal(judge.scores(other), density.score(other))
    np.testing.assert_array_equal(judge.p_value(other), plain.p_value(density.score(other)))
    np.testing.assert_array_equal(
        judge.reject(other, 0.1, 0.9), plain.reject(density.score(other), 0.1, 0.9)
    )


def test_a_score_is_that_of_the_density_at_one_length(detector, tables):
    rows, held_out, other = tables
    trend = LengthTrend.fit(rows)
    density = create(DEFAULT).fit(trend.residuals(rows))
    scores = [density.score(trend.residuals(table)) for table in tables]
    np.testing.assert_array_equal(detector.score(other), scores[2])
    calibration = Calibration(scores[1], lengths(held_out))
    assert len(calibration.edges) == 4
    known = lengths(other)
    np.testing.assert_array_equal(detector.p_value(other), calibration.p_value(scores[2], known))
    np.testing.assert_array_equal(
        detector.predict(other, 0.07), calibration.reject(scores[2], 0.07, covariate=known)
    )


@pytest.mark.parametrize("name", OF_ANY_TABLE)
def test_no_length_alarms_more_than_others_whatever_the_density(objective, tables, name):
    """Among equal texts of 8 to 40 tokens; without a trend the likelihood finds all long ones."""
    rows, held_out, other = tables
    detector = fm.Detector(objective, create(name)).fit(rows, calibration=held_out)
    alarms = detector.predict(other, 0.1)
    long = lengths(other) > 18
    for part in (alarms[long], alarms[~long]):
        assert 0.02 < part.mean() < 0.21  # four deviations of a share of .1 of some 150
    scores = detector.score(other)
    assert abs(np.corrcoef(scores, np.log(lengths(other)))[0, 1]) < 0.25
    if name == "likelihood":
        assert np.corrcoef(other.losses[:, 0], lengths(other))[0, 1] > 0.95


def test_shares_of_columns_sum_to_the_score(objective, tables):
    rows, held_out, other = tables
    for name in ("nearest-neighbours", "layerwise-gaussian"):
        detector = fm.Detector(objective, name).fit(rows, calibration=held_out)
        np.testing.assert_allclose(detector.explain(other).sum(1), detector.score(other), 1e-9)


def test_groups_are_judged_by_their_mean_length(objective, tables):
    detector = fm.Detector(objective, group_size=3).fit(tables[0], calibration=tables[1])
    assert len(detector.calibration) == 200
    np.testing.assert_allclose(
        np.sort(detector.calibration.covariate), np.sort(lengths(tables[1].grouped(3)))
    )
    assert abs(np.corrcoef(detector.score(tables[2]), lengths(tables[2].grouped(3)))[0, 1]) < 0.4


def test_a_detector_comes_back_to_the_bit(detector, tables, objective, tmp_path):
    detector.save(tmp_path / "d")
    again = fm.Detector.load(tmp_path / "d", objective)
    for verb in ("score", "p_value", "predict", "explain"):
        np.testing.assert_array_equal(
            getattr(again, verb)(tables[2]), getattr(detector, verb)(tables[2])
        )
    assert again.trend_.names == detector.trend_.names


def test_a_detector_of_an_earlier_release_is_read(objective, tmp_path, caplog):
    """It kept no lengths: its numbers stay, and nothing is outside."""
    x = texts(60, 5, 12, 12)
    detector = fm.Detector(objective).fit(x)
    detector.save(tmp_path / "d")
    description, payload = KIND.read(tmp_path / "d")
    arrays = archive.unpack(payload, tmp_path, "")
    del arrays[COVARIATE], arrays[EDGES]
    KIND.write(tmp_path / "d", description, archive.pack(arrays))
    place = tmp_path / "d" / "detector.json"  # without the setting, as it was written then
    text = msgspec.json.decode(place.read_bytes())
    del text["content"]["length"]
    content = msgspec.json.encode(text["content"])
    text["sha256"] = KIND._hash(content, text["arrays"])
    place.write_bytes(msgspec.json.encode({**text, "content": msgspec.Raw(content)}))
    old = fm.Detector.load(tmp_path / "d", objective)
    np.testing.assert_array_equal(old.p_value(x), detector.p_value(x))
    write_scores(old, texts(30, 6), tmp_path / "s.csv")
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["outside"] for row in rows} == {"False"} and rows[0]["length"] != "11.0"
    assert "shorter or longer" not in caplog.text


def test_the_file_has_lengths_and_marks_those_outside_with_one_warning(
    detector, objective, tmp_path, caplog
):
    x = texts(90, 7, 4, 60)
    with caplog.at_level(logging.WARNING):
        write_scores(detector, x, tmp_path / "s.csv", batch_size=16)
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    predicted = x["attention_mask"].sum(1) - 1
    assert [float(row["length"]) for row in rows] == predicted.tolist()
    far = (predicted < 7) | (predicted > 39)
    assert [row["outside"] == "True" for row in rows] == far.tolist()
    said = f"{int(far.sum())} of 90 are shorter or longer than all"
    assert caplog.text.count("shorter or longer") == 1 and said in caplog.text
    assert "(7 to 39)" in caplog.text
    np.testing.assert_array_equal([float(row["p_value"]) for row in rows], detector.p_value(x))


def test_groups_in_the_file_have_the_mean_of_their_lengths(objective, tables, tmp_path):
    detector = fm.Detector(objective, group_size=2).fit(tables[0])
    write_scores(detector, tables[2], tmp_path / "s.parquet")
    pq = pytest.importorskip("pyarrow.parquet")
    table = pq.read_table(tmp_path / "s.parquet")
    assert [str(field.type) for field in table.schema][4:] == ["double", "bool"]
    np.testing.assert_array_equal(table["length"].to_numpy(), lengths(tables[2].grouped(2)))


def test_an_alpha_that_a_bin_cannot_resolve_is_refused_before_the_work(detector, tables):
    with pytest.raises(ValueError, match="at least 199 in each of the 5 bins"):
        detector.predict(None, alpha=0.005)


def test_padding_is_no_part_of_a_length():
    model = nn.Linear(4, 4)
    objective = fm.objectives.Objective(lambda x: model.weight.sum() * x["input_ids"].sum(1), model)
    x = {
        "input_ids": torch.ones(3, 5),
        "attention_mask": torch.arange(5) < torch.tensor([[2], [5], [0]]),
    }
    assert objective.dimensions(x).tolist() == [2, 5, 1]
    assert objective.dimensions({"x": torch.ones(3, 2, 5)}).tolist() == [10] * 3
