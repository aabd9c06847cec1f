"""Replay: `source.ReplaySource` plays CSV and Parquet files, `source.replay` does it once for a command line."""
