"""What the measurements say: rows of tables, each goal beside what became of it."""

from collections.abc import Sequence

from benchmarks.speed.cases import MEMORY_GOAL
from benchmarks.speed.jobs import PARTS, TARGET, Job
from benchmarks.speed.peers import ENGINE
from benchmarks.speed.scaling import LINEAR, Point, exponent
from benchmarks.speed.tables import Table, Value
from benchmarks.speed.timing import STEP, Timed

Peaks = dict[str, float]
Measured = tuple[str, Timed, Peaks]
SPEED = (
    "Time of (forward + table of norms) over that of one training step (forward + "
    "`losses.sum().backward()`) on the same model and batch; medians of interleaved repeats, "
    "quartiles in brackets. The first batch learns the model and checks it; its cost is in steps. "
    "Memory is the peak of a batch over what was there before it, over the same of a step."
)
PEERS = (
    "Each in turn with the step and the engine, at the chunk size that was fastest (the loop takes "
    "one sample at a time). A method whose norms of two samples are not those of the loop has no "
    "time."
)
CHANGES = (
    "*As it is*: what a library does on the model as it was written, dropout off and in the mode "
    "that it needs. *Changes*: what was changed in the model, at the same function, so that it can "
    "be read; the times above are those of the changed model."
)
PEER_COLUMNS = ("time / step", "memory / step", "chunk")
GOAL = "goal for {}"


def met(value: float, goal: float) -> str:
    return "met" if value <= goal else "missed"


def speed(found: Sequence[Measured]) -> Table:
    """Return one column per case."""
    return _across("The engine", SPEED, {label: _case(t, m) for label, t, m in found})


def _across(title: str, note: str, columns: dict[str, dict[str, Value]]) -> Table:
    """Return a table of several things side by side, each a column of the same quantities."""
    table = Table(title, ["", *columns], note)
    for quantity in dict.fromkeys(q for column in columns.values() for q in column):
        table.rows.append([quantity, *(column.get(quantity) for column in columns.values())])
    return table


def _case(timed: Timed, peaks: Peaks) -> dict[str, Value]:
    entry = timed.methods[ENGINE]
    found: dict[str, Value] = {
        "million parameters": round(timed.parameters / 1e6, 2),
        "batch": timed.batch,
        "one step, s": timed.step,
        "time / step": entry.ratio or entry.fault,
    }
    if entry.ratio is None:
        return found
    goal = timed.case.goal
    found[GOAL.format("time")] = f"{goal:.2f}: {met(entry.ratio.median, goal)}"
    found["first batch / step"] = entry.first
    memory = peaks[ENGINE] / peaks[STEP]
    found["memory / step"] = memory
    found[GOAL.format("memory")] = f"{MEMORY_GOAL:.2f}: {met(memory, MEMORY_GOAL)}"
    found["fastest peer"], found["goal: ahead of every peer"] = _fastest(timed)
    return found


def _fastest(timed: Timed) -> tuple[str, str]:
    counted = {n: e.ratio.median for n, e in timed.methods.items() if e.ratio and n != ENGINE}
    if not counted:
        return "none is right", met(0, 1)
    name = min(counted, key=counted.__getitem__)
    own = timed.methods[ENGINE].ratio.median
    return f"{name}, {counted[name]:.2f}", met(own, counted[name])


def peers(found: Sequence[Measured]) -> list[Table]:
    """Return the times, one row per case and method, and what was done to get them."""
    times = Table("The engine and its peers", ["model", "method", *PEER_COLUMNS], PEERS)
    changes = Table("What the peers need", ["model", "method", "as it is", "changes"], CHANGES)
    for label, timed, peaks in found:
        for name, entry in timed.methods.items():
            memory = peaks[name] / peaks[STEP] if name in peaks else None
            times.rows.append([label, name, entry.ratio or entry.fault, memory, entry.chunk])
            if entry.as_is:
                changes.rows.append([label, name, entry.as_is, entry.note or None])
    return [times, changes]


def scaling(title: str, size: str, points: Sequence[Point]) -> Table:
    a = exponent(points)
    note = (
        f"Over the upper half of the sizes the time of the engine grows as size^{a:.2f}; goal: "
        f"linear, an exponent of at most {LINEAR}: {met(a, LINEAR)}."
    )
    columns = [size, "one step, s", "engine, s", f"engine, ms per {size}", "engine / step"]
    table = Table(title, columns, note)
    for p in points:
        per = 1e3 * p.engine.median / p.size
        table.rows.append([p.size, p.step.median, p.engine.median, per, p.ratio])
    return table


def jobs(found: Sequence[Job]) -> Table:
    note = (
        f"Seconds per {TARGET:,} images, from a file of images to the CSV of `fimetric score`, in "
        "a process of its own. What is done once (imports, opening, the first batch and the "
        "smaller last one) counts once, the rest is scaled up from the images that were measured. "
        "The loop does one forward and one backward pass per image, and gives the same scores."
    )
    return _across("Whole jobs", note, {f"{j.model}, {j.how}": _job(j) for j in found})


def _job(job: Job) -> dict[str, Value]:
    return {
        "images measured": job.images,
        f"seconds per {TARGET:,}": job.total,
        "imports": job.start,
        **{part: float(job.scaled(part)) for part in PARTS},
        "of all this, once": job.start + sum(job.once.values()),
    }
