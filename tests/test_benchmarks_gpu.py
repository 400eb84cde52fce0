"""What is prepared for a GPU, in its reduced form on whatever device there is."""

import csv
import importlib.util
import itertools

import pytest
import torch
from benchmarks.speed import exactness, gpu, pairs, timing
from benchmarks.speed.checking import fault
from benchmarks.speed.large import LARGE, in_bfloat16
from benchmarks.speed.operations import counted
from benchmarks.speed.peers import ENGINE, METHODS, Method
from torch import nn

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries, about themselves
BY_NAME = {large.case.name: large for large in LARGE}
OPACUS = importlib.util.find_spec("opacus") is not None


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Return a function that runs the benchmark on GPT-2: arguments -> rows, what is printed."""
    monkeypatch.setattr(gpu, "LARGE", [BY_NAME["GPT-2 small"]])
    monkeypatch.setattr(gpu, "FEW", 1)
    pairs.wrong.cache_clear()

    def measured(*arguments):
        gpu.main([str(tmp_path / "page.md"), "--reduced", *arguments])
        with (tmp_path / "page.csv").open(newline="", encoding="utf-8") as file:
            cells = list(csv.DictReader(file))
        rows = {}
        for key, of in itertools.groupby(cells, lambda cell: (cell["table"], cell["row"])):
            rows.setdefault(key[0], []).append({cell["column"]: cell["value"] for cell in of})
        return rows, capsys.readouterr().out

    yield measured
    pairs.wrong.cache_clear()


def test_every_row_of_a_model_is_measured(run, tmp_path):
    rows, printed = run()
    assert [row["is"] for row in rows[gpu.EXACT]] == ["exact"] * 2
    found = [(row["precision"], row["method"]) for row in rows[gpu.SPEED]]
    methods = [name for name in gpu.PEERS if OPACUS or "Opacus" not in name]
    expected = itertools.product(("float32", "bfloat16"), methods)
    assert found == [("float32", ENGINE), ("bfloat16", ENGINE), *expected]
    for row in rows[gpu.SPEED]:
        assert float(row["time / step"]) > 0
        assert float(row["memory / step"]) > 0
    assert [float(row["operations / backward"]) > 1 for row in rows[gpu.CALLS]] == [True] * 2
    left = (
        []
        if OPACUS
        else [f"GPT-2 small, N = 4, {p}, Opacus hooks" for p in ("float32", "bfloat16")]
    )
    assert [row["row"] for row in rows.get("Left out", [])] == [f"{gpu.SPEED}: {r}" for r in left]
    assert "Goal: 1.1 of a step's time, 1.15 of its memory" in printed
    assert f"torch {torch.__version__}" in (tmp_path / "page.md").read_text()


def test_no_row_is_begun_when_the_time_is_over(run):
    rows, printed = run("--seconds", "0")
    assert set(rows) == {"Left out"}
    assert {row["why"] for row in rows["Left out"]} == {"the time was over"}
    assert len(rows["Left out"]) == 2 + 4 + 2 * len(gpu.PEERS)
    assert printed.count("left out: the time was over") == len(rows["Left out"])


def test_what_cannot_be_measured_is_left_out_with_its_reason(run, monkeypatch):
    def needs_too_much(case, module):
        raise torch.OutOfMemoryError

    def is_missing(case, module):
        raise ModuleNotFoundError(name="grads")

    def is_wrong(case, module):
        return Method(lambda x: 2 * METHODS[ENGINE](case, module).table(x))

    methods = {"large": needs_too_much, "missing": is_missing, "wrong": is_wrong}
    monkeypatch.setattr(gpu, "PEERS", tuple(methods))
    monkeypatch.setattr(pairs, "METHODS", {**METHODS, **methods})
    monkeypatch.setattr(pairs, "fault", lambda name, *of: fault(name, *of) * (name == "wrong"))
    rows, _ = run()
    why = [row["why"] for row in rows["Left out"][:3]]
    assert why[:2] == ["too much memory", "not installed: grads"]
    assert why[2].startswith("wrong by 1 of the norm²")


def test_a_first_call_that_would_take_too_long_is_left_out():
    clock = gpu.Clock(100)
    run = gpu.Run("cpu", True, clock)
    (small, *_) = gpu.settings(True)
    run.learned[small.case.name] = (small.batch // 2, 30.0)
    with pytest.raises(gpu.LeftOutError, match="would take some 120 s"):
        run._started(small)


def test_a_chunk_that_does_not_fit_is_not_taken():
    def table(x):
        if len(x) > 2:
            raise torch.OutOfMemoryError
        return x

    assert timing.best_chunk(table, torch.ones(8, 1)) <= 2
    with pytest.raises(torch.OutOfMemoryError):
        timing.best_chunk(table, torch.ones(64, 1))


def test_a_wrong_engine_is_not_called_exact(monkeypatch):
    honest = exactness.fm.GradientNorms.__call__
    monkeypatch.setattr(
        exactness.fm.GradientNorms, "__call__", lambda *given: honest(*given) * (1 + 1e-6)
    )
    assert exactness.error("perceptron", "cpu", torch.float64) == pytest.approx(1e-6, rel=1e-3)
    nothing = torch.tensor([[0.0, torch.nan]])
    assert exactness._excess(nothing, torch.ones(1, 2), torch.zeros(1, 2)) > 1e300


@pytest.mark.parametrize("large", LARGE, ids=lambda large: large.case.name)
def test_the_small_models_are_of_the_same_kind(large):
    (full, small) = (type(make()) for make in (on_meta(large.case.model), large.small))
    assert full is small
    for case in (large.reduced, in_bfloat16(large.reduced)):
        module, x = case.build(3)
        losses = case.losses(module)(x)
        assert losses.shape == (3,)
        assert losses.isfinite().all()
        assert losses.dtype == torch.float32


def on_meta(model):
    def made():
        with torch.device("meta"):
            return model()

    return made


def test_the_large_models_have_their_published_sizes():
    sizes = {"UNet of DDPM": 35.7e6, "GPT-2 small": 124.4e6 - 512 * 768}
    for name, size in sizes.items():
        module = on_meta(BY_NAME[name].case.model)()
        assert sum(p.numel() for p in module.parameters()) == pytest.approx(size, rel=2e-3)


def test_operations_and_waits_are_counted():
    x = torch.ones(3, 4, requires_grad=True)

    def work():
        y = (
            nn.functional.linear(x, x.detach()).t().sum()
        )  # product and sum; the transpose is a view
        if y > 0:  # a comparison and a wait
            y.backward()  # a product

    found = counted(work)
    assert found.waits.total() == 1
    assert found.counts["aten::mm"] == 2
    assert not any("view" in name or name == "aten::t" for name in found.counts)
