"""The selective scan of Mamba (Gu & Dao 2023), for whatever processor there is.

    from hsfuse.scan import selective_scan
    y = selective_scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus=True)

Each of D channels carries N numbers h from step to step; the input decides at every step how much of them
fades (Δ), what is written (B) and what is read (C):

    h_t = exp(Δ_t A) h_{t-1} + Δ_t B_t u_t        y_t = C_t · h_t + D u_t

Shapes and meaning are mamba-ssm's. Four backends compute the same, forward and backward:

``mamba_ssm``
    mamba-ssm's CUDA kernel, if it is installed and works when tried.
``triton``
    Our own kernels for CUDA: triton comes with torch there, and needs a C compiler when it runs.
``numba``
    Compiled for the CPU at hand, on all of torch's threads, and kept on disk for the next start.
``reference``
    The recurrence, written down step by step in torch: any device, float64 too. Slow; tests measure by it.

``HSFUSE_SCAN=auto`` (the default) takes the first that works; naming one makes a missing one an error. The two for
CUDA are tried on each card before they are taken. All give the last state a gradient but ``mamba_ssm``, which is
passed over, or refused where it was named, where one may be wanted.
`explain_backend` says which and why, and a log entry (level INFO) says so once.

How the files hang together, from what a model calls down to single instructions:

    interface.py   selective_scan
    arguments.py   operands: shapes checked, B and C brought to one shape
    backends.py    what works here, and the choice      probe.py   trying a backend
    reference.py   mamba_ssm.py
    triton_scan.py   launches, autograd       triton_kernels.py   what runs on the GPU
    cpu.py           tasks, autograd          workers.py          threads
      cpu_forward.py, cpu_backward.py         the kernels: one task each
      elementary.py                           exp, softplus and the state's step on vectors
      packing.py, lanes.py                    memory to vectors, vectors for numba
"""

from hsfuse.scan.backends import BACKENDS, BackendChoice, available_backends, explain_backend
from hsfuse.scan.interface import selective_scan

__all__ = ["BACKENDS", "BackendChoice", "available_backends", "explain_backend", "selective_scan"]
