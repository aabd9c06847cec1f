"""WHERE twins are kept: the hot graph in memory, the graph store behind it, and the history of values."""
