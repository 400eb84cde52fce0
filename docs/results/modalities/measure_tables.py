"""Write how well the flows of tables describe own test rows, beside Gaussians of the same rows.

    python docs/results/modalities/measure_tables.py [FOLDER OF TABLES [FOLDER OF MODELS]]

Both Gaussians are fitted to the training rows with the noise that the flow is trained with: its
variance is added to theirs, without which a column of one value has no density. All are taken of
the rows as they are, in nats per column; they depend on the units of the columns, their differences
do not. ``gain`` is that over the full Gaussian, with its standard error. The table goes to standard
output.
"""

import math
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

import fimetric as fm
from fimetric.models import NSF

DATA = Path("runs/modalities/data/tables")
MODELS = Path("checkpoints")


def gaussians(model: NSF, train: Tensor) -> tuple[MultivariateNormal, MultivariateNormal]:
    """Return a Gaussian of independent columns and one of all covariances."""
    rows = train.double()
    noise = model.step.square() / 12 + (model.config.noise * model.deviation).square()
    covariance = rows.T.cov(correction=0) + noise.double().diag()
    return (
        MultivariateNormal(rows.mean(0), covariance.diag().diag()),
        MultivariateNormal(rows.mean(0), covariance),
    )


@torch.no_grad()
def row(name: str, data: Path, models: Path) -> str:
    """Return a row of the table: name, then nats per column of each model."""
    model = fm.models.load(models / f"tables-{name}-nsf")
    assert isinstance(model, NSF)
    train, test = (
        fm.data.load(str(data / name), split=part).tensor() for part in ("train", "test")
    )
    losses = [-model.log_prob(test).double()]
    losses += [-each.log_prob(test.double()) for each in gaussians(model, train)]
    flow, independent, full = ((each / test.shape[1]).mean().item() for each in losses)
    gain = (losses[2] - losses[0]) / test.shape[1]  # of the same rows, so its error is smaller
    error = gain.std().item() / math.sqrt(len(gain))
    return (
        f"| {name} | {test.shape[1]} | {len(train)} | {flow:.3f} ({flow / math.log(2):.3f}) | "
        f"{independent:.3f} | {full:.3f} | {gain.mean().item():.3f} ± {error:.3f} |"
    )


def main(data: Path = DATA, models: Path = MODELS) -> None:
    """Print the table."""
    print("| set | columns | rows | flow: nats (bits) | independent Gaussians | Gaussian | gain |")
    print("|---|---|---|---|---|---|---|")
    for place in sorted(data.glob("*/train.parquet")):
        print(row(place.parent.name, data, models))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
