#!/usr/bin/env bash
# A folder of pairs: SITE-hsi.tif and SITE-msi.tif belong together, FUSED/SITE.tif comes out.
#
#   examples/folder.sh SCENES FUSED [options of hsfuse fuse]
#
# Started again it goes on where it was: what is finished is skipped, and so a pair that failed is tried again.
set -euo pipefail

scenes=$1 fused=$2
shift 2

# Names in the table are seen from its own folder; a column for any option of fuse may be added, such as srf.
table=$scenes/pairs.csv
echo hsi,msi,output > "$table"
for hsi in "$scenes"/*-hsi.tif; do
    site=$(basename "$hsi" -hsi.tif)
    if [ -e "$scenes/$site-msi.tif" ]; then
        echo "\"$site-hsi.tif\",\"$site-msi.tif\",\"$site.tif\"" >> "$table"
    else
        echo "no $site-msi.tif beside $hsi: left out" >&2
    fi
done

# A line of JSON a pair; the status is 1 where one of them failed, which does not stop the others.
status=0
hsfuse batch "$table" -o "$fused" "$@" > "$scenes/pairs.jsonl" || status=$?
grep '"status": "failed"' "$scenes/pairs.jsonl" || echo "none of the pairs failed"
exit "$status"
