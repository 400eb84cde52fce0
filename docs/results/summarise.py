"""Write docs/results/fashion_mnist.md from the tables of the three evaluations."""

import csv
from pathlib import Path

HERE = Path(__file__).parent
MODELS = ("vae", "glow", "diffusion")
DETECTORS = (
    "likelihood",
    "typicality",
    "sum-of-norms",
    "layerwise-gaussian",
    "chi-square",
    "fishers-method",
    "full-gaussian",
)


def number(row: dict[str, str]) -> str:
    value, low, high = (float(row[key]) for key in ("auroc", "auroc_low", "auroc_high"))
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def summary(model: str, size: str) -> str:
    with (HERE / "fashion_mnist" / model / "table.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["group_size"] == size]
    sets = list(dict.fromkeys(row["ood"] for row in rows))
    cells = {(row["detector"], row["ood"]): number(row) for row in rows}
    lines = ["| AUROC | " + " | ".join(sets) + " |", "|---|" + "---|" * len(sets)]
    for name in DETECTORS:
        for detector in (name, f"{name} (mean)"):
            if (detector, sets[0]) in cells:
                lines.append(
                    f"| {detector} | " + " | ".join(cells[detector, ood] for ood in sets) + " |"
                )
    return "\n".join(lines)


def said(model: str) -> str:
    text = (HERE / "fashion_mnist" / model / "table.md").read_text(encoding="utf-8")
    return "\n".join(line for line in text.splitlines() if line.startswith("- "))


def section(model: str) -> str:
    folder = f"fashion_mnist/{model}"
    bits = (HERE / folder / "model.md").read_text(encoding="utf-8").strip()
    return f"""## {model}

{bits}

Single samples:

{summary(model, "1")}

Groups of 5 (`mean`: by the mean of the samples' log norms, else by the joint gradient):

{summary(model, "5")}

In words, as the program wrote them:

{said(model)}

[All numbers]({folder}/table.md), [scores]({folder}/scores-groups-of-1.png),
[ROC curves]({folder}/roc-groups-of-1.png)

![Likelihood histograms]({folder}/likelihood.png)
![Samples]({folder}/samples.png)
"""


def main() -> None:
    head = (HERE / "fashion_mnist.head.md").read_text(encoding="utf-8")
    page = "\n".join([head, *map(section, MODELS)])
    (HERE / "fashion_mnist.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
