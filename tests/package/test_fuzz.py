"""A few damaged and hostile files of each kind through the verbs; `benchmarks/fuzz.py` has more."""

import os
import subprocess
import sys

import pytest
from conftest import REPO


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked, with limits")
def test_damaged_and_hostile_files():
    done = subprocess.run(
        [sys.executable, "benchmarks/fuzz.py", "--rasters", "12", "--vectors", "10", "--models",
         "8", "--each", "1", "--jobs", "2"],
        cwd=REPO, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        check=False, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "30 runs of 30 files" in done.stdout and "failures: 0 runs" in done.stdout
