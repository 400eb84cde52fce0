"""How much memory a piece of work takes, counted allocation by allocation."""

import gc

from torch.profiler import ProfilerActivity, profile


def peak(work) -> int:
    """Return by how many bytes the tensors in memory rise, at the highest, while ``work`` runs."""
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        work()
    held = highest = 0
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        highest = max(highest, held)
    return highest
