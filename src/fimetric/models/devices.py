"""Devices by name."""

import torch


def known_device(name: str | torch.device) -> torch.device:
    """Return a device that this torch can use.

    Raises:
        ValueError: for another, naming those there are.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        usable = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        usable += ["mps"] if torch.backends.mps.is_available() else []
        raise ValueError(
            f"there is no device {str(name)!r} here; use {', '.join(usable)}"
        ) from error
    if device.type == "meta":
        raise ValueError("the device 'meta' computes nothing; use cpu")
    return device
