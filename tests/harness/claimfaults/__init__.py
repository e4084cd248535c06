"""Faults while pods get and release claims: plugin processes are killed between any two steps of their work.

    python -m tests.harness.claimfaults --count 1000 --seed 1
    python -m tests.harness.claimfaults --count 100 --processes

Everything runs in one event loop. A process consists of the parts of a DRA driver, and writes real files. A process
that has been killed writes nothing more, not even in its handlers, as if it had got SIGKILL; the next one finds the
files as they are. The API server fails, and the kubelet forgets, gives up and retries calls. Whatever happens, no two
pods have the same device, no pod gets a device that was not reset, and in the end nothing is left. With `--processes`,
everything except the kubelet and the API server is real, and takes correspondingly longer.
"""
