"""Example plants, shipped in the wheel so that `twinloom demo` works without the repository."""
