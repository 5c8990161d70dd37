"""The demo: a real broker, rendered cameras, the worker and a subscriber, judged against the script's truth."""
