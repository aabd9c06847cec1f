"""Kafka: `source.KafkaSource` reads telemetry, `sink.KafkaFollower` produces every signal, `mapping` reads the file."""
