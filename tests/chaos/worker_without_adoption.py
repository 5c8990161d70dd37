"""A worker that sends requests again and forgets what it published: `python -m tests.chaos.worker_without_adoption JSON`."""

import sys

from tests.chaos.broken import without_adoption, without_back_off
from tools.chaos.worker_process import run

if __name__ == "__main__":
    without_back_off()
    without_adoption()
    sys.exit(run(sys.argv[1]))
