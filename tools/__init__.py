"""The commands: the only place that wires the adapters of `pipeline` and `stream` together."""
