"""The load test: how many frames a second an artifact answers on this machine, and how late."""
