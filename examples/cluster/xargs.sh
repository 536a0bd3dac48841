#!/usr/bin/env bash
# The same without a batch system: N processes on this machine share a table of pairs.
#
#   examples/cluster/xargs.sh N pairs.csv fused [options of hsfuse fuse]
set -euo pipefail

processes=$1 table=$2 fused=$3
shift 3

# Each process takes half of what is free unless it is told less: give --memory with the other options for large scenes.
cpus=$(getconf _NPROCESSORS_ONLN)
export OMP_NUM_THREADS=$((cpus > processes ? cpus / processes : 1))

mkdir -p "$fused"
# $0 is the share's number; xargs ends with 123 where any of the processes failed.
# shellcheck disable=SC2016
seq "$processes" | xargs -P "$processes" -I SHARE \
    bash -c 'exec hsfuse batch "${@:4}" -o "$3" --shard "$1/$2" > "$3/share-$1.jsonl"' - \
    SHARE "$processes" "$fused" "$table" "$@"
