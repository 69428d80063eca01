"""glibc reuses large buffers after tuning."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
from facestream.common.core.malloc_tuning import retain_large_buffers
if {tuned}:
    assert retain_large_buffers()
bytearray(4_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    bytearray(4_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(tuned: bool) -> int:
    program = PROGRAM.format(tuned=tuned)
    return int(subprocess.check_output([sys.executable, "-c", program], timeout=30))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_a_reused_buffer_costs_no_page_faults() -> None:
    # Tens of thousands on a kernel without huge pages, which give a few hundred.
    assert page_faults(tuned=False) >= 40
    assert page_faults(tuned=True) < 20
