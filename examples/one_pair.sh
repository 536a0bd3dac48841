#!/usr/bin/env bash
# One pair: look whether it can be fused, fuse it, and hold the result against both images.
#
#   examples/one_pair.sh prisma.he5 s2.SAFE fused.tif [options of hsfuse fuse]
#   examples/one_pair.sh hsi.tif msi.tif fused.tif --model bayes --srf sentinel-2a
set -euo pipefail

hsi=$1 msi=$2 output=$3
shift 3

# Ends with status 2, and says why, where the two cannot be fused.
hsfuse info "$hsi" "$msi"

hsfuse fuse --hsi "$hsi" --msi "$msi" -o "$output" "$@"

# Without a reference: what the fused image becomes when it is degraded to either of the two again.
hsfuse evaluate --fused "$output" --hsi "$hsi" --msi "$msi"
