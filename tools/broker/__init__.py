"""A real Apache Kafka broker on this machine: its jars, its process, and the order in which a broker is looked for."""
