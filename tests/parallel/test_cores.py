"""The number of cores follows the affinity, the control group's quota and the limit of a worker."""

import math
import os
import subprocess
import sys

import pytest

from geossda.parallel.cores import cgroup_quota


def printed(*arguments, code="from geossda.parallel.cores import cores; print(cores())"):
    done = subprocess.run([*arguments, sys.executable, "-c", code], capture_output=True, text=True,
                          check=True)  # fmt: skip
    return done.stdout.split()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux has CPU affinity")
def test_affinity_limits_the_cores():
    available = sorted(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, {{{available[0]}}})\n"
        "from geossda.parallel.cores import cores\n"
        "from geossda.parallel.dask_workers import Workers\n"
        "from geossda.parallel.ordered_map import OrderedPool\n"
        "print(cores(), OrderedPool().workers)"
    )
    assert printed(code=code) == ["1", "1"]


def test_a_limit_holds_in_opencv_and_torch_too():
    code = (
        "import cv2, torch\nfrom geossda.parallel.cores import cores, limit_cores\n"
        "limit_cores(3); print(cores(), cv2.getNumThreads(), torch.get_num_threads())\n"
        "limit_cores(0); print(cores())"
    )
    assert printed(code=code) == ["3", "3", "3", "1"]


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "200000 100000\n"}, 2.0),
        ({"a/b/cpu.max": "150000 100000\n", "cpu.max": "max 100000\n"}, 1.5),
        ({"a/cpu.max": "50000 100000\n", "a/b/cpu.max": "400000 100000\n"}, 0.5),
        ({"a/b/cpu.max": "max 100000\n"}, math.inf),
        ({"a/b/cpu.max": "rubbish\n"}, math.inf),
        ({}, math.inf),
    ],
    ids=["root", "own", "parent", "unlimited", "unreadable", "absent"],
)
def test_quota_of_control_groups_version_2(tmp_path, files, quota):
    for name, text in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(text)
    (tmp_path / "membership").write_text("0::/a/b\n")
    assert cgroup_quota(tmp_path / "membership", tmp_path / "fs") == quota


@pytest.mark.parametrize("folder", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize(("granted", "quota"), [(250_000, 2.5), (-1, math.inf)])
def test_quota_of_control_groups_version_1(tmp_path, folder, granted, quota):
    # In a container the listed path is the host's; only the mount's root is there.
    group = tmp_path / "fs" / folder
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text(f"{granted}\n")
    (group / "cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "membership").write_text("5:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n")
    assert cgroup_quota(tmp_path / "membership", tmp_path / "fs") == quota


def test_no_control_groups_are_no_limit(tmp_path):
    assert cgroup_quota(tmp_path / "nowhere", tmp_path) == math.inf
