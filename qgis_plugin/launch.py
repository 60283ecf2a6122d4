"""Run a Python module at the head of a process group of its own; the core's Python runs this file.

``python launch.py MODULE [ARGUMENT ...]`` does what ``python -m MODULE`` does, and besides

- tells its process id, which the name of unfinished outputs carries;
- can be ended together with whatever it starts;
- ends by itself when the other end of standard input is gone, that is QGIS.
"""

import _thread
import json
import os
import runpy
import signal
import sys
import threading


def watch():
    """Wait for the end of standard input, then stop as Ctrl-C or a polite kill would."""
    while os.read(0, 1024):
        pass
    if os.name == "posix":
        os.killpg(0, signal.SIGTERM)
    else:
        _thread.interrupt_main()


if __name__ == "__main__":
    if os.name == "posix":
        os.setsid()
    del sys.argv[0]
    # The folder of this file, whose modules are none of the program's business.
    del sys.path[0]
    print(json.dumps({"event": "process", "id": os.getpid()}), file=sys.stderr, flush=True)
    threading.Thread(target=watch, daemon=True).start()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
