"""The configuration of a whole benchmark of tiny models, larger where a test asks for it."""

from pathlib import Path

GRID = """
held_out = {held_out}
samples = {samples}
costly_samples = {costly_samples}
group_sizes = {group_sizes}
consecutive = {consecutive}
figure = {figure}
looks = ["rotated"]
methods = {methods}
[families.vae]
config = {{ channels = {channels}, latent = {latent} }}
steps = {steps}
seeds = {seeds}
[[sets]]
data = "digits"
far = ["letters"]
near = {near}
"""
SMALLEST = {
    "held_out": 16,
    "samples": 6,
    "costly_samples": 4,
    "group_sizes": [1, 2],
    "consecutive": [],
    "figure": ["likelihood", "typicality"],
    "methods": ["likelihood", "typicality"],
    "channels": [2],
    "latent": 1,
    "steps": 1,
    "seeds": [0],
    "near": [],
}


def write_grid(folder: Path, **values: object) -> Path:
    """Write the smallest grid, with other values where they are given, and return its file."""
    path = folder / "small.toml"
    path.write_text(GRID.format(**{**SMALLEST, **values}))
    return path
