"""Pixels in, answers out: BLIP visual question answering. Knows nothing of Kafka, cameras or time."""
