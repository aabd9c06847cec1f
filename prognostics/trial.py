"""A first run of a model that nobody here has run before, in a process of its own with limits on memory and time.

The operators of a file may be harmless and its tensors small, and a run may still ask for gigabytes (a product of two
long constants). `try_out` finds that where it harms nobody: a child process gets the bytes on standard input, runs
batches of 1 and 64 and says on standard output what came out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from twinloom.twin.errors import BadFile

TIMEOUT_S = 10.0
CPU_S = 4
MEMORY_BYTES = 512 * 2**20


def try_out(data: bytes, file: str, window: int, features: int, outputs: int) -> None:
    """Returns when the model runs and gives (B, outputs) for (B, window, features), or for flat rows if its input has
    rank 2; (B,) will do for one output. Raises BadFile with the reason."""
    command = [sys.executable, "-c", _CHILD, str(window), str(features)]
    environment = {**_kept_environment(), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        child = subprocess.run(  # our own interpreter and text; the file's bytes go to its standard input
            command, input=data, capture_output=True, timeout=TIMEOUT_S, env=environment, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BadFile(file, f"a trial run took longer than {TIMEOUT_S:g} s", remedy="use a smaller model") from error
    try:
        said = json.loads(child.stdout)
        shapes = said["shapes"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadFile(
            file,
            f"a trial run within {MEMORY_BYTES >> 20} MiB and {CPU_S} s of processor time failed",
            remedy=_last_line(child.stderr) or "use a smaller model",
        ) from error
    if shapes != [[1, outputs], [64, outputs]] and not (outputs == 1 and shapes == [[1], [64]]):
        raise BadFile(file, f"the model gives shapes {shapes}", remedy=f"it must give (B, {outputs})")


def _kept_environment() -> dict[str, str]:
    return {
        name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR") if name in os.environ
    }


def _last_line(stderr: bytes) -> str:
    lines = stderr.decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else ""


# The limit counts what the model adds: libraries are mapped before it is set.
_CHILD = f"""
import json, sys
import numpy, onnxruntime
data = sys.stdin.buffer.read()
window, features = int(sys.argv[1]), int(sys.argv[2])
try:
    import resource
except ImportError:
    pass
else:
    pages = int(open("/proc/self/statm").read().split()[0]) if sys.platform == "linux" else 0
    limit = pages * resource.getpagesize() + {MEMORY_BYTES}
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, ({CPU_S}, {CPU_S}))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
options.log_severity_level = 4
session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
port = session.get_inputs()[0]
name, shape = port.name, (window * features,) if len(port.shape) == 2 else (window, features)
shapes = [list(session.run(None, {{name: numpy.ones((b, *shape), numpy.float32)}})[0].shape) for b in (1, 64)]
print(json.dumps({{"shapes": shapes}}))
"""
