#!/usr/bin/env bash
# From a bare user with QGIS to buildings on a map: what it takes, step by step.
#   benchmarks/qgis.sh GEOSSDA_WHEEL PLUGIN_ZIP RASTER REFERENCE FOLDER [cpu|cuda]
# FOLDER becomes the user's home; the results and the picture are left in it.
set -euo pipefail
wheel=$(realpath "$1") zip=$(realpath "$2") raster=$(realpath "$3") reference=$(realpath "$4")
here=$(realpath "$(dirname "$0")")
mkdir -p "$5"
HOME=$(realpath "$5") && export HOME
export XDG_RUNTIME_DIR=$HOME QT_QPA_PLATFORM=offscreen LC_ALL=C.UTF-8
unset GEOSSDA_PYTHON
plugins=$HOME/.local/share/QGIS/QGIS3/profiles/default/python/plugins
cd "$HOME"

step() { # a title, then the command
  local title=$1 start=$EPOCHREALTIME
  shift
  "$@" >> log.txt 2>&1
  printf '%-34s %7.1f s\n' "$title" "$(bc <<< "$EPOCHREALTIME - $start")"
}
install_zip() {
  mkdir -p "$plugins" && unzip -qo "$zip" -d "$plugins"
  qgis_process.bin plugins enable geossda_processing
}
step "1 install the zip" install_zip
step "2 set up" qgis_process.bin run geossda:setup --TORCH="${6:-cpu}" --SOURCE="$wheel"
step "3 harmonize" qgis_process.bin run geossda:harmonize \
  --INPUT="$raster" --STYLE="$reference" --OUTPUT=harmonized.tif
step "4 find buildings" qgis_process.bin run geossda:segment \
  --INPUT=harmonized.tif --OUTPUT=buildings.gpkg
du -sh .qgis_geossda
/usr/bin/python3 "$here/qgis_map.py" map.png buildings.gpkg harmonized.tif
