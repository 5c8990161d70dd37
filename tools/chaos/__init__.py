"""`tools/run chaos`: workers, brokers and publishers under seeded faults, judged by pictures that carry their truth."""
