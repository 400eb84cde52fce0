"""One training loop for every reference model.

Everything random in step s is drawn from generators seeded by (seed, s), so a run that was killed
and resumed from its checkpoint ends, on the CPU, in bit-identical weights. What is kept as the
model is the exponential moving average of the weights with the best validation bits per dimension.
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from fimetric.arguments import folder_of
from fimetric.data import Samples
from fimetric.models import Model, kind_of
from fimetric.models.devices import known_device
from fimetric.models.folder import read_weights, write
from fimetric.progress import progress as show_progress
from fimetric.store.files import refuse_file, swept
from fimetric.training.checkpoint import (
    fingerprint,
    read_checkpoint,
    write_checkpoint,
    write_log,
)
from fimetric.training.data import as_samples, split
from fimetric.training.recipes import recipe_for
from fimetric.training.run import Run, copied
from fimetric.training.seeds import indices, number, order

log = logging.getLogger(__name__)
VALIDATION_BATCH = 128


@dataclass(frozen=True)
class History:
    """What a run came to.

    ``rows`` has one dictionary for each validation: step, loss (of training, per dimension, mean
    since the row before) and bits_per_dim, in bits per ``Model.UNIT``; ``best`` is the lowest
    bits_per_dim, at ``best_step``.
    """

    rows: list[dict[str, float]]
    best: float
    best_step: int


def train(
    model: Model,
    data: Any,
    folder: str | Path,
    *,
    steps: int,
    batch_size: int | None = None,
    lr: float | None = None,
    optimiser: Literal["adamw", "adamax"] | None = None,
    warmup: int | None = None,
    clip: float | None = None,
    ema: float | None = None,
    seed: int = 0,
    validation: Any = None,
    validate_every: int | None = None,
    patience: int | None = None,
    device: str | torch.device = "cpu",
    resume: bool = True,
    progress: bool = True,
) -> History:
    """Train a model in a folder, which is a loadable model from the first validation on.

    The folder gets ``config.json`` and ``model.safetensors`` (the best average so far),
    ``log.csv``, and ``checkpoint/`` to resume from. On return ``model`` holds the best average, in
    evaluation mode.

    Arguments:
        model: A new model of :func:`fimetric.models.build`; it is trained in place.
        data: Training data: Samples, or whatever ``fimetric.data.batches`` takes.
        folder: Where the run lives.
        steps: Optimiser steps in all, those before a resumption included.
        batch_size: Samples in a step, by default 64.
        lr, optimiser, warmup, clip, ema: See :class:`Recipe`; the default depends on the kind of
            model.
        seed: Seed of order, noise and held-out part.
        validation: Data to validate on; by default a seeded 5% of ``data``, at most 512, held out.
        validate_every: Steps between validations; by default about 20 in all. A checkpoint goes
            with each.
        patience: Stop after so many validations without a new best; by default never.
        device: Where to train. Resumption is bit-identical on the CPU only.
        resume: Go on from the checkpoint in the folder, if there is one; it must be of the same
            settings and data. False starts anew, in a folder without a run.
        progress: Show a progress bar.

    Raises:
        ValueError: for settings out of range, data that do not fit the model, or a checkpoint of
            another run.
        FileExistsError: where ``resume`` is False and the folder holds a run or a model.
        RuntimeError: where a loss is not finite, with the step.
        KeyboardInterrupt: as it is, once the log says how to go on.
    """
    folder, device = folder_of(folder), known_device(device)
    refuse_file(folder)
    recipe = recipe_for(
        kind_of(model),
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        optimiser=optimiser,
        warmup=warmup,
        clip=clip,
        ema=ema,
        seed=seed,
        validate_every=validate_every,
        patience=patience,
    )
    fit_on, held_out = split(as_samples(data, model), validation, model, seed)
    run = Run(model.to(device).train(), recipe)
    settings = fingerprint(model, fit_on, held_out, recipe)
    with swept(folder):
        _begin(run, fit_on, folder, settings, resume)
        try:
            with show_progress("training", steps, progress, run.step) as advance:
                for _ in _loop(run, fit_on, advance):
                    if run.step % recipe.validate_every == 0 or run.step == steps:
                        _validate(run, held_out, folder)
                        write_checkpoint(folder / "checkpoint", run, settings)
                        write_log(folder, run.rows)
        except KeyboardInterrupt:
            _say_stopped(run, folder)
            raise
        return _finish(run, folder)


def _say_stopped(run: Run, folder: Path) -> None:
    kept = f"the checkpoint of step {run.rows[-1]['step']}" if run.rows else "no checkpoint yet"
    log.warning(
        "stopped in step %d; %s has %s; the same call goes on from there", run.step, folder, kept
    )


def _begin(run: Run, data: Samples, folder: Path, settings: dict[str, Any], resume: bool) -> None:
    """Put a run where its checkpoint stands, or at the start.

    Raises:
        FileExistsError: where ``resume`` is False and the folder holds a run or a model.
    """
    checkpoint = folder / "checkpoint"
    if checkpoint.exists() and resume:
        read_checkpoint(checkpoint, run, settings)
        write_log(folder, run.rows)  # it was killed before that, perhaps
        log.info("resuming %s at step %d", folder, run.step)
        return
    if checkpoint.exists() or (not resume and (folder / "config.json").exists()):
        raise FileExistsError(f"{folder} holds a run already; resume it, or take another folder")
    model = run.model
    least = len(data) if model.FIRST is None else max(run.recipe.batch_size, model.FIRST)
    first = order(run.recipe.seed, 0, len(data))[:least]
    model.initialise(run.to_device(model.taken(data, first)))
    run.average = copied(run.model)


def _loop(run: Run, data: Samples, advance: Any) -> Iterator[int]:
    """Do the steps that are left, yielding after each."""
    recipe = run.recipe
    while run.step < recipe.steps:
        stale = sum(row["step"] > run.best_step for row in run.rows)
        if recipe.patience is not None and stale >= recipe.patience:
            log.info("no better for %d validations: stopped at step %d", stale, run.step)
            return
        rows = indices(recipe.seed, run.step, recipe.batch_size, len(data))
        x = run.model.taken(data, rows)
        run.losses.append(_step(run, run.to_device(x)))
        run.step += 1
        run.update_average()
        recent = run.losses[-50:]
        note = f"loss {sum(recent) / len(recent):.4f}, best {run.best:.3f} bits/{run.model.UNIT}"
        advance(1, note)
        yield run.step


def _step(run: Run, x: Tensor) -> float:
    """Do one optimiser step on x (N, ...) and return the loss per dimension.

    Raises:
        RuntimeError: where the loss or its gradient is not finite, with the step.
    """
    model, recipe = run.model, run.recipe
    for group in run.optimiser.param_groups:
        group["lr"] = recipe.rate(run.step)
    with torch.random.fork_rng(devices=[]):  # for what draws from the global generator (dropout)
        torch.default_generator.manual_seed(number(recipe.seed, run.step, 1))
        generator = Generator().manual_seed(number(recipe.seed, run.step, 0))
        loss = model.training_losses(x, generator).mean() / model.sizes(x)
    run.optimiser.zero_grad()
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
    value = loss.item()
    if not (math.isfinite(value) and norm.isfinite()):
        raise RuntimeError(
            f"in step {run.step} the loss is {value} and its gradient's norm {norm.item()}; "
            f"the last checkpoint is untouched; try another folder and a lower lr (now {recipe.lr})"
        )
    run.optimiser.step()
    return value


@torch.no_grad()
def _validate(run: Run, held_out: Samples, folder: Path) -> None:
    """Add a row to the history, and save the averaged model if it is the best so far.

    Raises:
        RuntimeError: where the bits per dimension are not finite, with the step.
    """
    generator = Generator().manual_seed(number(run.recipe.seed, 0, 2))  # each time the same noise
    parts = torch.arange(len(held_out)).split(VALIDATION_BATCH)
    with run.averaged() as model:
        taken = (run.to_device(model.taken(held_out, i)) for i in parts)
        bits = [model.bits_per_dim(x, generator) for x in taken]
        value = torch.cat(bits).mean().item()
        if not math.isfinite(value):
            raise RuntimeError(
                f"validation gives {value} bits per {run.model.UNIT} in step {run.step}"
            )
        if value < run.best:
            run.best, run.best_step = value, run.step
            write(model, folder)
    loss = sum(run.losses) / max(len(run.losses), 1)
    run.rows.append({"step": run.step, "loss": loss, "bits_per_dim": value})
    run.losses.clear()
    log.info(
        "step %d of %d: loss %.4f, validation %.4f bits/%s",
        run.step,
        run.recipe.steps,
        loss,
        value,
        run.model.UNIT,
    )


def _finish(run: Run, folder: Path) -> History:
    try:
        weights = read_weights(folder / "model.safetensors")
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{folder}/model.safetensors is gone, and with it the best weights of this run; "
            f"remove {folder}/checkpoint to start anew"
        ) from error
    run.model.load_state_dict(weights)
    run.model.eval()
    return History(run.rows, run.best, run.best_step)
