"""Capacity and cost: how many workers, instances and partitions a fleet of cameras needs, and what it costs."""
