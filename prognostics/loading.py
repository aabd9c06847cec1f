"""Large libraries, imported in a thread of their own at first need: importing river costs seconds of processor time."""

from __future__ import annotations

import importlib
import logging
import sys
import threading

_log = logging.getLogger(__name__)
_asked: dict[str, threading.Thread] = {}
_lock = threading.Lock()


def loaded(*modules: str) -> bool:
    """True once all modules are imported; the first call begins that in the background and answers False."""
    missing = [name for name in modules if name not in _done]
    for name in missing:
        with _lock:
            if name not in _asked:
                _asked[name] = threading.Thread(target=_load, args=(name,), name=f"import {name}", daemon=True)
                _asked[name].start()
    return not missing


def wait(*modules: str, timeout_s: float = 60.0) -> bool:
    """Waits until the modules are imported; False when they are not within the time."""
    if loaded(*modules):
        return True
    for name in modules:
        thread = _asked.get(name)
        if thread is not None:
            thread.join(timeout_s)
    return loaded(*modules)


def _load(name: str) -> None:
    try:
        importlib.import_module(name)
    except ImportError:
        _log.exception("%s cannot be imported", name)
    else:
        _done.add(name)


_done: set[str] = {name for name in ("river.drift", "river.linear_model", "scipy.integrate") if name in sys.modules}
