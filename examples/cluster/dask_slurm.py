"""Fuse one large pair, its tiles on the nodes of a Slurm cluster.

    pip install 'hsfuse[dask]' dask-jobqueue
    python dask_slurm.py --jobs 8 --cores 16 --memory 64GB --time 01:00:00 -- \
        --hsi prisma.tif --msi s2.tif --srf sentinel-2a -o fused.tif --resume

Starts the jobs, waits for the first, and runs `hsfuse fuse --dask` with what stands behind `--`. Inputs and output lie
on a file system that all nodes see. Every job is one worker that computes one tile at a time on all of its cores (or on
its card: `--gpus 1`); results are blended and written here, so run this on a node with memory for a row of tiles. The
jobs go when it ends; with --resume the same command goes on after a break.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from dask_jobqueue import SLURMCluster


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--cores", type=int, default=16, help="of each job")
    parser.add_argument("--memory", default="64GB", help="of each job")
    parser.add_argument("--time", default="01:00:00")
    parser.add_argument("--queue")
    parser.add_argument("--gpus", type=int, default=0, help="of each job")
    parser.add_argument("words", nargs="+", help="of hsfuse fuse, behind --")
    wanted = parser.parse_args()
    with SLURMCluster(
        queue=wanted.queue, cores=1, job_cpu=wanted.cores, processes=1, memory=wanted.memory, walltime=wanted.time,
        job_script_prologue=[f"export OMP_NUM_THREADS={wanted.cores}"],
        job_extra_directives=[f"--gres=gpu:{wanted.gpus}"] if wanted.gpus else [],
    ) as cluster:  # fmt: skip
        cluster.scale(jobs=wanted.jobs)
        with cluster.get_client() as client:
            client.wait_for_workers(1)
        command = [sys.executable, "-m", "hsfuse", "fuse", "--dask", cluster.scheduler_address, *wanted.words]
        return subprocess.run(command, check=False).returncode  # noqa: S603 (the user's own words)


if __name__ == "__main__":
    sys.exit(main())
