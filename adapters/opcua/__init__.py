"""OPC UA: `source.OpcUaSource` reads a server, `mapping.read_mapping` its table, `simulator` stands for a plant."""
