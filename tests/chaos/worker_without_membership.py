"""A worker that fences without being a member: `python -m tests.chaos.worker_without_membership JSON`."""

import sys

from tests.chaos.broken import without_membership
from tools.chaos.worker_process import run

if __name__ == "__main__":
    without_membership()
    sys.exit(run(sys.argv[1]))
