"""WHAT a twin is: ids, values, readings, signals, orders, ports, errors and the DTDL language.

Pure: standard library, numpy and the unit arithmetic of pint; no I/O, no async machinery.
"""
