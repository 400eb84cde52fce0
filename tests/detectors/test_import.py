"""What is imported with the package: not what a few densities alone need, which takes its time."""

import subprocess
import sys


def test_scikit_learn_waits_until_it_is_needed():
    code = "import fimetric, fimetric.cli, sys; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
