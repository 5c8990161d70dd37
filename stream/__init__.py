"""Packets in, events out: decoding, batching, debouncing and delivery. Never imports torch or transformers."""
