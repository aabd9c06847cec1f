"""JSON telemetry by a mapping file: what the sources that carry it (Kafka, MQTT) and replay share. No driver here."""
