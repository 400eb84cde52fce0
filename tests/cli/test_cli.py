"""The command line as a user calls it: whole paths, bad input, Ctrl-C."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fimetric.cli import app
from fimetric.data import load
from fimetric.extraction.extractor import Extractor
from fimetric.features.table import Features

COLUMNS = ["id", "score", "p_value", "out_of_distribution", "length", "outside"]
DATA = Path(os.environ.get("FIMETRIC_DATA", "/nowhere"))


def fimetric(*arguments, status=0):
    """Call the command line in this process; return what it printed, the error in one line."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == status, (result.output, result.exception)
    if status == 1:
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
        assert len(result.stderr) > len("error: ") + 10
    return result.stderr if status else result.stdout


@pytest.fixture(autouse=True)
def short_bootstrap(monkeypatch):
    monkeypatch.setattr("fimetric.judging.judge.REPEATS", 20)


def listing(folder):
    """All files under a folder, with their content: what a failed call must leave as it was."""
    return {p: p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a trained model, extracted features and a detector."""
    home = tmp_path_factory.mktemp("home")
    model = home / "vae"
    said = fimetric(
        "train", "vae", "--data", "digits", "--config", "tiny", "--steps", 60, "--out", model
    )
    assert "bits per dimension on validation data" in said
    said = fimetric("extract", model, "--data", "digits", "--out", home / "features")
    assert "N=600" in said
    said = fimetric("fit", model, "--data", home / "features", "--out", home / "detector")
    assert "calibrated on 300 groups; the smallest p-value is 1/301" in said
    return home


@pytest.fixture
def work(home, tmp_path, monkeypatch):
    """A fresh working folder, in which ``model`` and ``detector`` stand ready."""
    shutil.copytree(home / "vae", tmp_path / "model")
    shutil.copytree(home / "detector", tmp_path / "detector")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def digits(n=12):
    return load("digits", limit=n).values.numpy()


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_scores_as_csv_and_parquet_agree_and_decide_by_the_p_value(work):
    import pyarrow.parquet as pq

    fimetric(
        "score",
        "detector",
        "--model",
        "model",
        "--data",
        "letters",
        "--limit",
        90,
        "--out",
        "s.csv",
    )
    fimetric(
        *("score", "detector", "--model", "model", "--data", "letters", "--limit", 90),
        *("--out", "s.parquet"),
    )
    rows = rows_of(work / "s.csv")
    table = pq.read_table(work / "s.parquet").to_pylist()
    assert [row["id"] for row in rows] == [f"letters/test/{i}" for i in range(90)]
    assert list(table[0]) == list(rows[0]) == COLUMNS
    for row, other in zip(rows, table, strict=True):
        assert float(row["score"]) == other["score"]
        assert float(row["p_value"]) == other["p_value"]
        assert (row["out_of_distribution"] == "True") == (other["p_value"] <= 0.05)
        assert (row["length"], row["outside"]) == ("64.0", "False")  # 8 x 8 pixels
        assert (other["length"], other["outside"]) == (64, False)
    assert any(other["out_of_distribution"] for other in table)


def test_p_values_count_calibration_scores(work, home):
    import safetensors.numpy

    fimetric("score", "detector", "--model", "model", "--data", home / "features", "--out", "s.csv")
    calibration = safetensors.numpy.load_file(work / "detector" / "detector.safetensors")
    for row in rows_of(work / "s.csv")[:50]:
        above = (calibration["calibration"] >= float(row["score"])).sum()
        assert float(row["p_value"]) == (1 + above) / 301


def test_features_and_data_give_the_same_detector_and_scores(work, home):
    fimetric("fit", "model", "--data", "digits", "--out", "again")
    for name, data in (("again", "digits"), ("detector", home / "features")):
        fimetric(
            "score", name, "--model", "model", "--data", data, "--limit", 70, "--out", f"{name}.csv"
        )
    one, two = rows_of(work / "again.csv"), rows_of(work / "detector.csv")
    assert len(one) == len(two) == 70
    assert [row["id"] for row in one] == [row["id"] for row in two]
    for a, b in zip(one, two, strict=True):
        assert float(a["score"]) == pytest.approx(float(b["score"]), rel=1e-4, abs=1e-2)


def test_a_table_holds_what_is_asked_for_and_says_what_it_lacks(work):
    one = ("extract", "model", "--data", "digits", "--limit", 40)
    assert "J=0" in fimetric(*one, "--no-gradient", "--out", "losses")
    fimetric("fit", "model", "--data", "losses", "--density", "cheap", "--out", "cheap")
    said = fimetric("fit", "model", "--data", "losses", "--out", "whole", status=1)
    assert "without norms" in said
    fimetric(*one, "--parts", "none", "--out", "norms")
    said = fimetric("fit", "model", "--data", "norms", "--out", "whole", status=1)
    assert "other parts of the loss: none, not cross-entropy" in said
    assert not Path("whole").exists()


def test_all_kinds_of_data_name_the_same_samples(work):
    images = digits()
    np.save("a.npy", images)
    np.savez("b.npz", images=images)
    np.save("c.npy", images.astype(np.float32) / 255)
    Path("pictures").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image[0]).save(f"pictures/{i:02}.png")
    scores = {}
    for source in ("digits", "a.npy", "b.npz", "c.npy", "pictures", "pictures/03.png"):
        out = Path(source.replace("/", "-") + ".csv")
        fimetric(
            *("score", "detector", "--model", "model", "--data", source, "--limit", 12),
            *("--out", out),
        )
        scores[source] = np.array([float(row["score"]) for row in rows_of(out)])
    for source in ("a.npy", "b.npz", "c.npy", "pictures"):
        np.testing.assert_allclose(scores[source], scores["digits"], rtol=1e-4, atol=1e-3)
    assert rows_of(Path("pictures.csv"))[3]["id"] == "03.png"
    np.testing.assert_allclose(
        scores["pictures/03.png"], scores["digits"][3:4], rtol=1e-4, atol=1e-3
    )


def test_groups_have_the_ids_of_their_samples(work):
    fimetric("fit", "model", "--data", "digits", "--group-size", 5, "--limit", 400, "--out", "five")
    fimetric(
        *("score", "five", "--model", "model", "--data", "letters", "--limit", 10),
        *("--out", "s.csv"),
    )
    rows = rows_of(work / "s.csv")
    assert [row["id"].split() for row in rows] == [
        [f"letters/test/{i}" for i in range(k, k + 5)] for k in (0, 5)
    ]
    before = listing(work)
    said = fimetric(
        *("score", "five", "--model", "model", "--data", "letters", "--limit", 13),
        *("--out", "t.csv"),
        status=1,
    )
    assert "13 samples do not make whole groups of 5; leave out 3" in said
    assert listing(work) == before


def test_an_analysis_writes_a_page_and_goes_on_where_it_was(work):
    call = ("analyse", "model", "--data", "digits", "--ood", "letters", "--samples", 200)
    first = fimetric(*call, "--claim", "paradox", "--out", "an")
    assert "Foreign data are more likely than the model's own" in first
    before = (work / "an" / "paradox" / "finding.json").stat().st_mtime_ns
    fimetric(*call, "--claim", "score", "--out", "an")
    again = fimetric(*call, "--claim", "paradox", "--out", "an")
    assert (work / "an" / "paradox" / "finding.json").stat().st_mtime_ns == before
    assert again == first
    page = (work / "an" / "claims.md").read_text()
    for target in ("paradox/paradox.png", "score/score.png"):
        assert target in page
        assert (work / "an" / target).exists()
    assert "another model or seed" in fimetric(
        *call, "--seed", 1, "--claim", "score", "--out", "an", status=1
    )


def test_retrained_models_are_compared(work):
    call = ("retrain", "vae", "--data", "digits", "--ood", "letters", "--steps", 3, "--out", "re")
    said = fimetric(*call)
    assert "rank samples alike" in said
    assert "rank-correlations.png" in (work / "re" / "retraining.md").read_text()
    assert fimetric(*call) == said


def test_evaluation_prints_and_writes_one_table(work):
    said = fimetric(
        *("evaluate", "model", "--id", "digits", "--ood", "patches", "--ood", "letters"),
        *("--limit", 120, "--out", "ev", "--density", "layerwise-gaussian"),
        *("--density", "likelihood"),
    )
    for heading in ("OOD set", "group", "detector", "AUROC", "AUPR", "FPR at 95% TPR"):
        assert heading in said
    assert "OOD is the positive class" in " ".join(said.split())
    rows = rows_of(work / "ev" / "table.csv")
    assert [(r["ood"], r["group_size"], r["detector"]) for r in rows] == [
        (ood, size, detector)
        for size in ("1", "5")
        for ood in ("patches", "letters")
        for detector in ("layerwise-gaussian", "likelihood", "layerwise-gaussian (mean)")
        if size == "5" or "mean" not in detector
    ]
    for row in rows:
        for name in ("auroc", "aupr", "fpr_at_95_tpr"):
            value, low, high = (float(row[name + end]) for end in ("", "_low", "_high"))
            assert 0 <= low <= high <= 1
            assert f"{value:.3f} [{low:.3f}, {high:.3f}]" in said
    for name in ("likelihood", *(f"{k}-groups-of-{n}" for k in ("scores", "roc") for n in (1, 5))):
        with Image.open(work / "ev" / f"{name}.png") as picture:
            assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 10
    text = (work / "ev" / "table.md").read_text()
    assert "| 1 | layerwise-gaussian |" in text
    assert "| 5 | likelihood | - | 12 | too few calibration groups" in text
    assert not list((work / "ev").rglob(".*"))


BAD_DATA = {
    "missing.npy": (None, "there is no missing.npy; give an existing file"),
    "empty.npy": (np.zeros((0, 1, 8, 8), np.float32), "empty is empty"),
    "size.npy": (
        np.zeros((3, 9, 9), np.uint8),
        "(1, 9, 9), the model takes (1, 8, 8); pass --size",
    ),
    "both.npy": (
        np.zeros((3, 9, 9, 3), np.uint8),
        "(3, 9, 9), the model takes (1, 8, 8); pass --channels 1 --size 8",
    ),
    "float.npy": (np.zeros((3, 8, 8), np.float32), "store the samples as (N, 1, 8, 8)"),
    "nan.npy": (np.full((3, 1, 8, 8), np.nan, np.float32), "sample nan/0 (row 0) has values that"),
    "inf.npy": (np.full((3, 1, 8, 8), np.inf, np.float32), "NaN or infinite; remove or repair"),
    "range.npy": (np.full((3, 1, 8, 8), 200, np.float32), "images lie in [0, 1]: store uint8"),
    "kind.npy": (np.zeros((3, 8, 8), np.int64), "int64; store uint8 images or float data"),
}


@pytest.mark.parametrize("name", BAD_DATA)
@pytest.mark.parametrize("command", ["score", "extract", "fit", "evaluate", "train"])
def test_bad_data_is_named_and_nothing_is_written(work, name, command):
    array, message = BAD_DATA[name]
    if command == "train" and name in ("size.npy", "both.npy", "float.npy"):
        pytest.skip("training builds the model for the data")
    if array is not None:
        np.save(name, array)
    before = listing(work)
    arguments = {
        "score": ("score", "detector", "--model", "model", "--data", name, "--out", "new.csv"),
        "extract": ("extract", "model", "--data", name, "--out", "new"),
        "fit": ("fit", "model", "--data", name, "--out", "new"),
        "evaluate": ("evaluate", "model", "--id", "digits", "--ood", name, "--out", "new"),
        "train": ("train", "vae", "--config", "tiny", "--data", name, "--out", "new"),
    }
    assert message in fimetric(*arguments[command], status=1)
    assert listing(work) == before


def make_files():
    Path("void.npy").touch()
    Path("folder").mkdir()
    Path("broken.png").write_bytes(b"no picture")
    Path("model.pt").write_bytes(b"\x80\x04.")
    np.save("pickled.npy", np.array([{}]), allow_pickle=True)
    whole = Path("whole.npy")
    np.save(whole, digits())
    Path("cut.npy").write_bytes(whole.read_bytes()[:300])
    Path("mixed").mkdir()
    Image.new("L", (8, 8)).save("mixed/a.png")
    Image.new("RGB", (9, 8)).save("mixed/b.png")
    Image.new("I;16", (8, 8)).save("deep.png")
    Path("stopped.parts").mkdir()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("void.npy", "void.npy is empty"),
        ("folder", "folder holds neither parquet files nor pictures"),
        ("broken.png", "broken.png is damaged or no picture"),
        ("model.pt", "is a pickle by its name"),
        ("pickled.npy", "pickled objects, which are not read"),
        ("cut.npy", "cut.npy is damaged"),
        ("mixed", "pictures differ: mixed/a.png is 8x8 (height x width) grey, mixed/b.png is 8x9"),
        ("deep.png", "not 8-bit grey or colour; convert it"),
        ("stopped", "the extraction of stopped was stopped before its end"),
    ],
)
def test_bad_files_are_named(work, name, message):
    make_files()
    before = listing(work)
    said = fimetric(
        "score", "detector", "--model", "model", "--data", name, "--out", "new.csv", status=1
    )
    assert message in said
    assert listing(work) == before


def test_pictures_are_converted_on_request_only(work):
    make_files()
    fimetric(
        *("score", "detector", "--model", "model", "--data", "mixed", "--out", "s.csv"),
        *("--size", 8, "--channels", 1),
    )
    assert [row["id"] for row in rows_of(work / "s.csv")] == ["a.png", "b.png"]


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def retrained(folder):
    shutil.rmtree(folder)
    fimetric(
        *("train", "vae", "--data", "digits", "--config", "tiny", "--steps", 2, "--out", folder),
    )


DAMAGE = {
    "another model": (lambda: retrained("model"), "another model"),
    "cut detector": (lambda: cut(Path("detector/detector.safetensors")), "is damaged"),
    "cut description": (lambda: cut(Path("detector/detector.json")), "is damaged"),
    "newer detector": (lambda: edit(Path("detector/detector.json"), version=99), "version 99"),
    "no detector": (lambda: shutil.rmtree("detector"), "holds no detector"),
    "cut model": (lambda: cut(Path("model/model.safetensors")), "model.safetensors is damaged"),
    "newer model": (lambda: edit(Path("model/config.json"), version=99), "is of version 99"),
    "no model": (lambda: shutil.rmtree("model"), "model is no path, and the hub did not give it"),
    "pickled model": (
        lambda: (shutil.rmtree("model"), Path("model").write_bytes(b"\x80\x04.")),
        "pickled models are not read",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_folders_are_refused(work, kind):
    damage, message = DAMAGE[kind]
    damage()
    before = listing(work)
    said = fimetric(
        "score", "detector", "--model", "model", "--data", "letters", "--out", "new.csv", status=1
    )
    assert message in said
    assert listing(work) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("score D --model M --data letters --out s.txt", "must end in .csv or .parquet"),
        ("score D --model M --data letters --out M.csv", "M.csv is a folder"),
        (
            "score D --model M --data letters --out s.csv --alpha 0.001",
            "smallest possible p-value 1/(n + 1) = 0.00332 of n=300 calibration scores",
        ),
        (
            "score D --model M --data letters --out s.csv --alpha 0.01 --confidence 0.999",
            "least 688",
        ),
        ("score D --model M --data digits --out s.csv --split no", "has train, test"),
        ("score D --model M --data digits --out s.csv --limit 0", "limit must be at least 1"),
        ("score D --model M --data digits --out s.csv --device no", "use cpu"),
        ("score D --model M --data digits --out s.csv --device meta", "use cpu"),
        ("fit M --data digits --out D", "exists already; pass --overwrite"),
        ("fit M --data digits --out new --limit 3", "are too few to fit a density"),
        (
            "fit M --data digits --out new --density no",
            "no density 'no'; there are balanced-neighbours",
        ),
        ("fit M --data F --out new --group-size 5 --density fishers-method", "another group size"),
        ("fit M --data F --out new --seed 3", "another seed"),
        ("fit M --data digits --out file", "file is a file; name a folder"),
        ("extract M --data digits --out file", "file is a file; name a folder"),
        ("extract M --data digits --out new --timesteps 1,2", "timesteps are for diffusion models"),
        ("extract M --data digits --out new --timesteps x", "timesteps must be numbers"),
        ("extract M --data digits --out new --draws 0", "draws must be at least 1"),
        ("extract M --data digits --out new --seed -1", "seed must be from 0"),
        ("extract M --data digits --out new --batch-size 0", "must be at least 1"),
        ("extract M --data digits --out new --parts dear", "one of free, costly, none, not 'dear'"),
        ("extract M --data digits --out new --limit 3 --group-size 5", "not one whole group of 5"),
        ("extract M --data digits --out D", "holds no features of an earlier extraction"),
        ("extract M --data letters --out F", "holds features made from other data"),
        ("evaluate M --id digits --ood digits --out new", "cannot be an OOD set too"),
        (
            "evaluate M --id digits --ood letters --ood letters --out new",
            "two data sets are called",
        ),
        ("evaluate M --id digits --ood letters --density no --out new", "no density 'no'"),
        ("evaluate M --id digits --ood letters --group-size 0 --out new", "at least 1, not 0"),
        ("evaluate M --id digits --ood letters --limit 30 --out new", "6 in-distribution groups"),
        ("analyse M --data digits --out new --claim proof", "no claim 'proof'; there are score"),
        ("analyse M --data digits --ood digits --out new", "cannot be foreign too"),
        ("analyse M --data digits --samples 20 --out new", "at least 200 samples"),
        ("analyse M --data digits --out file", "file is a file; name a folder"),
        ("retrain vae --data digits --ood digits --out new", "cannot be foreign too"),
        ("retrain no --data digits --ood letters --out new", "known are vae, glow, diffusion"),
        ("train vae --data digits --out file/new", "file is a file; name a folder"),
        ("train no --data digits --out new", "known are vae, glow, diffusion"),
        ("train vae --data digits --out new --config no", "known are tiny, small, paper"),
        ("train vae --data digits --out new --steps 0", "steps must be at least 1"),
        ("train vae --data digits --out new --limit 1", "training needs 2 at least"),
        ("train vae --data digits --out M --config tiny --steps 9", "steps was 60, now 9"),
    ],
)
def test_bad_arguments_are_explained(work, home, arguments, message):
    shutil.copytree(home / "features", "F")
    Path("model").rename("M")
    Path("detector").rename("D")
    Path("M.csv").mkdir()
    Path("file").touch()
    before = listing(work)
    assert message in fimetric(*arguments.split(), status=1)
    assert listing(work) == before


def test_a_wrong_call_ends_in_2_and_help_in_0():
    assert "No such option" in fimetric("score", "--bogus", status=2)
    fimetric("nonsense", status=2)
    assert "--alpha" in fimetric("score", "--help")


@pytest.mark.parametrize("command", ["extract", "evaluate", "score"])
def test_ctrl_c_stops_cleanly_and_the_same_call_goes_on(work, monkeypatch, command):
    calls = {
        "extract": ("extract", "model", "--data", "letters", "--out", "new"),
        "evaluate": (
            *("evaluate", "model", "--id", "digits", "--ood", "letters", "--out", "new"),
            *("--limit", 160, "--group-size", 1, "--density", "likelihood"),
        ),
        "score": ("score", "detector", "--model", "model", "--data", "letters", "--out", "s.csv"),
    }
    before = set(listing(work))
    seen, batch, own = [], Extractor.__call__, signal.getsignal(signal.SIGINT)

    def stopping(self, data):
        seen.append(data.ids)
        if len(seen) == 3:
            signal.raise_signal(signal.SIGINT)
        return batch(self, data)

    monkeypatch.setattr(Extractor, "__call__", stopping)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        said = fimetric(*calls[command], status=130)
    finally:
        signal.signal(signal.SIGINT, own)
    assert "stopped; what was done is kept" in said
    assert "Traceback" not in said
    new = set(listing(work)) - before
    kept = [path.relative_to(work).as_posix() for path in new if path.is_file()]
    assert all(".parts/" in path or "/features/" in path for path in kept)
    assert not (work / "s.csv").exists()
    earlier = len(seen)
    fimetric(*calls[command])
    assert not list(work.rglob("*.parts"))
    if command == "extract":
        assert len(seen) - earlier == 8  # 10 batches less the 2 that were kept
        assert len(Features.load("new")) == 600


def test_ctrl_c_during_training_leaves_a_model_that_training_goes_on_from(tmp_path):
    arguments = ("train", "vae", "--data", "digits", "--config", "tiny", "--out", "model")
    process = subprocess.Popen(
        [Path(sys.executable).with_name("fimetric"), *arguments, "--steps", "4000"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "model" / "log.csv").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, said
    assert "has the checkpoint of step" in " ".join(said.split())
    assert "stopped; what was done is kept" in said
    assert "Traceback" not in said
    names = sorted(p.name for p in (tmp_path / "model").iterdir())
    assert names == ["checkpoint", "config.json", "log.csv", "model.safetensors"]
    fimetric(
        "extract", tmp_path / "model", "--data", "digits", "--limit", 5, "--out", tmp_path / "f"
    )


@pytest.mark.skipif(
    not (DATA / "fashion_mnist").exists(), reason="FIMETRIC_DATA has no fashion_mnist"
)
def test_real_data_of_other_sizes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fimetric(
        *("train", "vae", "--data", "fashion_mnist", "--config", "tiny", "--steps", 3),
        *("--limit", 64, "--batch-size", 16, "--out", "model"),
    )
    said = fimetric("extract", "model", "--data", "cifar10", "--limit", 4, "--out", "f", status=1)
    assert "(3, 32, 32), the model takes (1, 32, 32); pass --channels 1" in said
    said = fimetric(
        *("evaluate", "model", "--id", "fashion_mnist", "--ood", "mnist", "--ood", "cifar10"),
        *("--channels", 1, "--limit", 40, "--out", "ev", "--density", "layerwise-gaussian"),
        *("--group-size", 1),
    )
    assert "mnist" in said
    assert "cifar10" in said
