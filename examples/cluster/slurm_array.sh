#!/usr/bin/env bash
# A table of pairs on a cluster with Slurm: each task of the array fuses every N-th pair.
#
#   sbatch examples/cluster/slurm_array.sh pairs.csv fused [options of hsfuse fuse]
#
# For a longer table or more machines change --array alone. Send the same array again after a failure or when the time
# is over: what is finished is skipped, and nothing is ever half written (Slurm sends SIGTERM first).
#SBATCH --job-name=hsfuse
#SBATCH --array=1-8
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=04:00:00
set -euo pipefail

table=$1 fused=$2
shift 2

export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
mkdir -p "$fused"
# exec: the signal reaches hsfuse and not a shell around it. Half of the memory that Slurm gives is used by default.
exec hsfuse batch "$table" -o "$fused" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" "$@" \
    > "$fused/task-$SLURM_ARRAY_TASK_ID.jsonl"
