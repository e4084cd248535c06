"""Faults while pods get and release claims: plugin processes are killed between any two steps of their work.

    python -m tests.harness.claimfaults --count 1000 --seed 1
    python -m tests.harness.claimfaults --count 100 --processes

Everything runs in one event loop. A process is the parts of a DRA driver, and what it writes are files. One that is
killed writes nothing any more, not even in its handlers, as if it had got SIGKILL; the next one finds the files as they
are. The API server fails, and the kubelet forgets, gives up and repeats calls. Whatever happens, no two pods have one
device, none gets one that was not reset, and in the end nothing is left. With `--processes`, everything is real but
the kubelet and the API server, and takes correspondingly longer.
"""
