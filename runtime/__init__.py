"""WHAT HAPPENS when a value changes: the pipeline, alerts, work orders, orders and the sequenced feed."""
