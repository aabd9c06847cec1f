"""The generic layer of the schema: always there, whatever models are registered."""
