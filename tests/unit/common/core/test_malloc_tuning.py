"""Large buffers are kept for use again."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
from facestream.common.core.malloc_tuning import retain_large_buffers
if {keep}:
    assert retain_large_buffers()
bytearray(4_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    bytearray(4_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(keep: bool) -> int:
    program = PROGRAM.format(keep=keep)
    return int(subprocess.check_output([sys.executable, "-c", program], timeout=30))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_a_buffer_used_again_costs_no_page_faults() -> None:
    # Tens of thousands on a kernel without huge pages, which give a few hundred.
    assert page_faults(keep=False) >= 40
    assert page_faults(keep=True) < 20
