"""HOW the plant and the company's systems speak: one folder each, the same files in each; they know only `twin`."""
