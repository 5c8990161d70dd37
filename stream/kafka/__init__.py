"""Kafka as the stream's source and sink: the only place of `stream` that knows aiokafka."""
