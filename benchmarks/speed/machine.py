"""What the numbers were measured on."""

import datetime
import platform

import torch

from fimetric.gradients.machine import processor


def machine() -> str:
    """Return it in one line."""
    return ", ".join(
        [
            f"{processor()}, {torch.get_num_threads()} threads",
            *_gpu(),
            f"Python {platform.python_version()}",
            datetime.date.today().isoformat(),
        ]
    )


def _gpu() -> list[str]:
    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(), f"CUDA {torch.version.cuda}"]
