#!/usr/bin/env bash
# Two sensors that no weights were trained for: train on their scenes alone, then fuse with the weights.
#
#   examples/new_sensors.sh hsi.tif msi.tif weights.safetensors fused.tif [options of hsfuse train-reduced]
#   examples/new_sensors.sh hsi.tif msi.tif weights.safetensors fused.tif --time 2h --srf response.csv
#
# By Wald's protocol no reference is needed: both images are degraded, and the HSI itself is the truth.
set -euo pipefail

hsi=$1 msi=$2 weights=$3 fused=$4
shift 4

# The table at the end shows whether training paid: the weights beside the classical methods, on what was held back.
# Ctrl-C keeps the best weights so far.
hsfuse train-reduced --hsi "$hsi" --msi "$msi" -o "$weights" "$@"

# `stack`, the default, weighs their network with the classical methods on the scene itself. `hsfuse weights show` tells
# what they were trained on. --srf and --psf, where you give them, belong to fuse as well.
hsfuse fuse --hsi "$hsi" --msi "$msi" --weights "$weights" -o "$fused"
