"""`tools/run report`, and `--report` of `demo`, `evaluate` and `diff`: what a command found, as one self-contained HTML page."""
