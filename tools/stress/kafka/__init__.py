"""The load test through Kafka: how many cameras real worker processes keep up with, how late, and whose processor time it is."""
