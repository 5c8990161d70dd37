"""A worker that polls on while its device stands still: `python -m tests.chaos.worker_without_backpressure JSON`."""

import sys

from tests.chaos.broken import without_backpressure
from tools.chaos.worker_process import run

if __name__ == "__main__":
    without_backpressure()
    sys.exit(run(sys.argv[1]))
