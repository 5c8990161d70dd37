"""A worker whose producer sends requests again: `python -m tests.chaos.worker_without_back_off JSON`."""

import sys

from tests.chaos.broken import without_back_off
from tools.chaos.worker_process import run

if __name__ == "__main__":
    without_back_off()
    sys.exit(run(sys.argv[1]))
