#!/usr/bin/env bash
# A folder that installs VoxGraft on a machine without a network: wheels, their SHA-256 list and an install script.
# bash docs/offline/bundle.sh FOLDER [EXTRAS]: run it in the repository, on the same system, processor and version of
# Python as the machine in the hospital. EXTRAS are those of pyproject.toml (default: review). PYTHON names the
# interpreter; TORCH may name a wheel of torch, such as the CPU build, that is taken in place of the index's.
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: bash docs/offline/bundle.sh FOLDER [EXTRAS]" >&2; exit 2; }
folder=$1 extras=${2:-review} python=${PYTHON:-python3}
repository=$(cd "$(dirname "$0")/../.." && pwd)
if [ -e "$folder" ]; then echo "$folder: already exists; choose another folder" >&2; exit 2; fi
mkdir -p "$folder/wheels"
folder=$(cd "$folder" && pwd)
# `pip wheel` fetches what `pip download` would, and builds a wheel of what comes as source only.
"$python" -m pip wheel -q -c "$repository/constraints.txt" -w "$folder/wheels" ${TORCH:+"$TORCH"} "$repository[$extras]"
cp "$repository/constraints.txt" "$folder/"
cat > "$folder/install.sh" << INSTALL
#!/usr/bin/env bash
# Installs VoxGraft from this folder into a new virtual environment, without a network: bash install.sh [ENVIRONMENT]
set -euo pipefail
target=\$(realpath -m "\${1:-voxgraft-venv}")
cd "\$(dirname "\$0")"
sha256sum --quiet --check SHA256SUMS
"\${PYTHON:-python3}" -m venv "\$target"
"\$target/bin/pip" install -q --no-index --find-links wheels -c constraints.txt 'voxgraft[$extras]'
echo "installed in \$target; next: \$target/bin/voxgraft doctor"
INSTALL
(cd "$folder" && find . -type f ! -name SHA256SUMS -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum > SHA256SUMS)
echo "$(find "$folder/wheels" -name '*.whl' | wc -l) wheels, $(du -sm "$folder" | cut -f1) MB in $folder"
echo "next: copy the folder to the machine without a network, and there: bash install.sh"
