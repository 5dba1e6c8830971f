#!/usr/bin/env bash
# What this project does on a GPU, measured in two calls on a lent machine that has no network and takes 64 MiB a call.
#
#   benchmarks/gpu.sh prepare MOSAICS    here: wheels and CIFAR-10 into .gpu/, sizes, and both calls as they are typed
#   benchmarks/gpu.sh first              there: installs the wheels, then all that needs no CIFAR-10
#   benchmarks/gpu.sh second             there, on the machine of the first: CIFAR-10, then what there is time for
#   benchmarks/gpu.sh keep FOLDER …      here: what both calls left in $OUT becomes benchmarks/results/gpu and cifar10_cutout
#   benchmarks/gpu.sh rehearse MOSAICS   here: all of it on the CPU at a small size, in a temporary folder
#
# MOSAICS is a folder with CIFAR-10 as lossless pictures and their unpack.py. .gpu/ is listed in .git/info/exclude (prepare
# sees to it), not in .gitignore. GPU_SECONDS limits a call, GPU_STEPS="demo loop" chooses steps. Everything there but
# the results lies in GPU_WORK. Each step has a time limit of its own and costs only itself when it fails.
set -euo pipefail
cd "$(dirname "$0")/.."

# What that machine's image lacks; vl-convert (33 MB) stays here, only the scripts that it gives to a page travel.
MISSING="altair antlr4-python3-runtime grad-cam hydra-core jsonschema jsonschema-specifications omegaconf platformdirs
         referencing rpds-py ttach"
PYTHON=${PYTHON:-$(test -x .venv/bin/python && echo .venv/bin/python || echo python3)}
export GPU_WORK=${GPU_WORK:-/tmp/stress_lab_gpu} OUT=${OUT:-/tmp/stress_lab_gpu_out}
export PYTHONPATH="$GPU_WORK/site:$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
export STRESS_LAB_CACHE="$GPU_WORK/cache"

fetch_wheels() {
  local platforms=() name
  for name in 2_39 2_35 2_34 2_31 2_28 2_27 2_24 2_17; do platforms+=(--platform "manylinux_${name}_x86_64"); done
  platforms+=(--platform manylinux2014_x86_64 --platform manylinux1_x86_64)
  for name in $MISSING; do
    name=$(grep "^$name==" constraints.txt | cut -d' ' -f1)
    "$PYTHON" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp "${platforms[@]}" \
      -d .gpu/one "$name" 2> /dev/null || "$PYTHON" -m pip wheel -q --no-deps -w .gpu/one "$name"  # a source alone
  done
}

exclude=$(git rev-parse --git-path info/exclude 2> /dev/null || true)
case ${1:-} in
  prepare)
    grep -qsx '/.gpu/' "$exclude" || echo '/.gpu/' >> "$exclude"
    rm -rf .gpu && mkdir -p .gpu/one .gpu/two
    fetch_wheels
    exec "$PYTHON" benchmarks/gpu.py prepare "$2" ;;
  first)
    rm -rf "$GPU_WORK" && mkdir -p "$GPU_WORK/site" "$OUT"
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$GPU_WORK/site" .gpu/one/*.whl
    cp .gpu/one/*.py "$GPU_WORK/site/"
    cp .gpu/one/cifar10.tar.part .gpu/one/code.json "$GPU_WORK/"
    exec "$PYTHON" benchmarks/gpu.py first ;;
  second)
    test -f "$GPU_WORK/cifar10.tar.part" || { echo "the machine of the first call is gone: do both calls again"; exit 1; }
    mkdir -p "$GPU_WORK/mosaics" "$OUT"
    cat "$GPU_WORK/cifar10.tar.part" .gpu/two/cifar10.tar.part | tar -x -C "$GPU_WORK/mosaics"
    exec "$PYTHON" benchmarks/gpu.py second ;;
  keep)
    exec "$PYTHON" benchmarks/gpu.py keep "${@:2}" ;;
  rehearse)
    export GPU_SMALL=1 GPU_WORK GPU_SECONDS=3000
    GPU_WORK=$(mktemp -d)
    mkdir "$GPU_WORK/site"
    STRESS_LAB_CACHE="$GPU_WORK/cache" OUT="$GPU_WORK/one" "$PYTHON" benchmarks/gpu.py first
    ln -s "$(realpath "$2")" "$GPU_WORK/mosaics"
    STRESS_LAB_CACHE="$GPU_WORK/cache" OUT="$GPU_WORK/two" "$PYTHON" benchmarks/gpu.py second
    "$PYTHON" benchmarks/gpu.py keep --to "$GPU_WORK/kept" "$GPU_WORK/one" "$GPU_WORK/two"
    echo "rehearsed in $GPU_WORK, which may be removed" ;;
  *)
    sed -n '2,/^set/p' "$0" | sed '/^set/d; s/^# \{0,1\}//'; exit 2 ;;
esac
