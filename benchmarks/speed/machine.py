"""What the numbers were measured on."""

import datetime
import platform
from pathlib import Path

import torch


def machine() -> str:
    """Return it in one line."""
    return ", ".join(
        [
            f"{_processor()}, {torch.get_num_threads()} threads",
            *_gpu(),
            f"torch {torch.__version__}",
            f"Python {platform.python_version()}",
            datetime.date.today().isoformat(),
        ]
    )


def _gpu() -> list[str]:
    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(), f"CUDA {torch.version.cuda}"]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
