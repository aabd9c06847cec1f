"""MQTT 5: `source.MqttSource` reads JSON, text and Sparkplug B, `mapping.read_mapping` the file."""
