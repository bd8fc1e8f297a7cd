"""How many processors kernels run on, asked of a new process each time: the first kernel settles it."""

import os
import subprocess
import sys

import pytest

ASK = """
import os, tvm, targets.cpu
threads = tvm.get_global_func("runtime.NumThreads")()
print(threads, os.sched_getaffinity(0) == set(map(int, os.environ["ALLOWED"].split())))
"""


@pytest.mark.parametrize(
    ("given", "threads"),
    [({}, os.cpu_count()), ({"OMP_NUM_THREADS": "1"}, 1), ({"TVM_NUM_THREADS": "1"}, 1)],
)
def test_kernels_take_all_processors_or_as_many_as_told_and_bind_no_thread(
    given: dict[str, str], threads: int
) -> None:
    unset = {name: value for name, value in os.environ.items() if not name.endswith("_THREADS")}
    allowed = " ".join(map(str, os.sched_getaffinity(0)))
    environment = {**unset, **given, "ALLOWED": allowed}
    asked = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True
    )
    assert asked.stdout.split() == [str(threads), "True"]
