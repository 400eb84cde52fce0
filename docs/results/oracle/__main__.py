"""Train an oracle with both sets of each near pair and write docs/results/oracle.md.

python docs/results/oracle         # a quarter of an hour on one core; needs FIMETRIC_DATA
python docs/results/oracle --page  # nothing is trained, the page is written
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from fimetric.benchmark.cases import Sets, cases
from fimetric.benchmark.config import read
from fimetric.benchmark.scoring import areas_of
from fimetric.benchmark.variants import make
from fimetric.data import Samples
from fimetric.data.named import Named
from fimetric.metrics import auroc
from fimetric.progress import progress
from fimetric.store.files import whole_file

HERE = Path(__file__).parent
TABLE = HERE / "areas.csv"
BENCHMARK = HERE.parent / "benchmark-looks" / "comparisons.parquet"
EACH, PASSES, BATCH = 2000, 6, 64
DEFAULT = "fimetric"
HEADER = ("own", "foreign", "area", "low", "high")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what an oracle tells of near pairs.")
    parser.add_argument("--page", action="store_true", help="train nothing, write the page")
    if not parser.parse_args().page:
        measure()
    write()


def measure() -> None:
    """Train an oracle for each near pair and keep the areas."""
    owns = list({case.own.name: case for case in cases(read("cpu")) if case.first}.values())
    pairs = [(case, name) for case in owns for name, how in case.sets.items() if how == "near"]
    sets = {case: Sets(case) for case in owns}
    rows = []
    with progress("oracles", len(pairs)) as advance:
        for case, name in pairs:
            rows.append([case.own.name, name, *map(str, told(sets[case], name))])
            advance(1)
    with whole_file(TABLE) as place, place.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([HEADER, *rows])


def told(sets: Sets, name: str) -> tuple[float, float, float]:
    """Return the area of an oracle on a near pair with its 95% interval."""
    own, foreign = chosen(sets.train), foreign_training(sets, name)
    network = trained(own.tensor(), foreign.tensor())
    found = {"test": scores(network, sets.parts["test"]), name: scores(network, sets.foreign(name))}
    low, high = np.quantile(areas_of(found, 0)[name], [0.025, 0.975])
    return round(auroc(found["test"], found[name]), 4), round(low, 4), round(high, 4)


def chosen(samples: Samples) -> Samples:
    """Return some samples at random, all where they are few."""
    order = np.random.default_rng(0).permutation(len(samples))[:EACH]
    return samples.select(np.sort(order).tolist())


def foreign_training(sets: Sets, name: str) -> Samples:
    """Return foreign images that are not tested on: looks are of other own training images."""
    if name in sets.case.looks:
        order = np.random.default_rng(1).permutation(len(sets.train))[:EACH]
        return make(name, sets.train.select(np.sort(order).tolist()), seed=1)
    shape, case = sets.parts["fit"].shape, sets.case
    return chosen(case.own.open(name, Named("train", None, case.grid.size, shape[0]), shape))


def trained(own: Tensor, foreign: Tensor) -> nn.Module:
    """Return a network whose output is higher for foreign images."""
    torch.manual_seed(0)
    network = oracle(own.shape[1])
    x = torch.cat([own, foreign]).float()
    y = torch.cat([torch.zeros(len(own)), torch.ones(len(foreign))])
    steps = PASSES * len(x) // BATCH
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps + PASSES)
    for _ in range(PASSES):
        for rows in torch.randperm(len(x)).split(BATCH):
            loss = nn.functional.binary_cross_entropy_with_logits(network(x[rows])[:, 0], y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval()


def oracle(channels: int) -> nn.Module:
    def layer(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
        return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *layer(channels, 32, 1),
        *layer(32, 32, 2),
        *layer(32, 64, 2),
        *layer(64, 64, 2),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 1),
    )


@torch.no_grad()
def scores(network: nn.Module, samples: Samples) -> np.ndarray:
    """Return the outputs (N,) of a network."""
    found = [network(x.float()) for x in samples.tensor().split(256)]
    return torch.cat(found)[:, 0].double().numpy()


def write() -> None:
    """Write the page from the areas and the comparisons of the benchmark."""
    with TABLE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with whole_file(HERE.with_suffix(".md")) as place:
        head = HERE.with_suffix(".head.md").read_text(encoding="utf-8")
        place.write_text("\n".join([head, *page(rows)]) + "\n", encoding="utf-8")


def page(rows: list[dict[str, str]]) -> Iterator[str]:
    found = {}
    for c in pq.read_table(BENCHMARK).to_pylist():
        alone = c["group_size"] == 1 and c["seed"] == 0
        if alone and (c["method"], c["arrangement"]) == (DEFAULT, "random"):
            found[c["own"], c["other"], c["family"]] = c["auroc"]
    families = list(dict.fromkeys(family for _, _, family in found))
    yield "AUROC of single samples; the oracle with a 95% interval; the others are the default of"
    yield "the benchmark's page, by family.\n"
    yield f"| own set | foreign set | oracle | {' | '.join(families)} |"
    yield "|---|---|---:|" + "---:|" * len(families)
    for row in rows:
        ours = [found.get((row["own"], row["foreign"], family)) for family in families]
        cells = ["–" if area is None else f"{area:.3f}" for area in ours]
        area, low, high = (float(row[name]) for name in ("area", "low", "high"))
        yield (
            f"| {row['own']} | {row['foreign']} | {area:.3f} [{low:.3f}, {high:.3f}] | "
            f"{' | '.join(cells)} |"
        )


if __name__ == "__main__":
    main()
