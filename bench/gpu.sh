#!/usr/bin/env bash
# What a machine with an NVIDIA GPU shows of metaprune in at most eight minutes, without a network.
#
#   bench/gpu.sh pack               # where Go and a network are: fills bin/gpu (programs, node tests)
#   bench/gpu.sh run [BACKEND]      # on the GPU machine: xla:cuda against xla:cpu; writes $OUT/gpu.md
#   bench/gpu.sh run xla:cpu        # tries the script without a GPU
#
# The machine needs Python 3 with numpy, and, for xla:cuda, JAX's CUDA plugin (the packages
# jax-cuda13-pjrt and nvidia-*-cu13), which is looked for in that Python.
set -euo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-docs/results}

pack() {
  mkdir -p bin/gpu
  go build -trimpath -ldflags '-s -w' -o bin/gpu/metaprune ./native/metaprune
  go test -c -trimpath -ldflags '-s -w' -o bin/gpu/xla.test ./xla
  tar -C /usr/share/libonnx-testdata/data -cJf bin/gpu/node.tar.xz node
  xz -kf -T0 bin/gpu/metaprune bin/gpu/xla.test
  rm bin/gpu/metaprune bin/gpu/xla.test
  du -sh bin/gpu
}

unpack() {
  for f in bin/gpu/*.xz; do
    case $f in *.tar.xz) tar -C bin/gpu -xJf "$f" ;; *) xz -dkf "$f" ;; esac
  done
  chmod +x bin/gpu/metaprune bin/gpu/xla.test
}

# plugin makes the Python package's CUDA plugin known to XLA.
plugin() {
  local site plug
  site=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  plug=$(find -L "$site/jax_plugins" -name 'xla_cuda_plugin.so' 2>/dev/null | head -n 1)
  [ -n "$plug" ] || { echo "no xla_cuda_plugin.so below $site/jax_plugins: pip install jax-cuda13-pjrt" >&2; return 1; }
  ln -sf "$plug" bin/gpu/pjrt_c_api_cuda_plugin.so
  export PJRT_PLUGIN_LIBRARY_PATH=$PWD/bin/gpu:${PJRT_PLUGIN_LIBRARY_PATH:-$HOME/.local/lib/go-xla}
  LD_LIBRARY_PATH=$(find -L "$site/nvidia" -type d -name lib | paste -sd:):${LD_LIBRARY_PATH:-}
  export LD_LIBRARY_PATH XLA_PYTHON_CLIENT_PREALLOCATE=false
}

case ${1:-} in
  pack) pack ;;
  run)
    backend=${2:-xla:cuda}
    unpack
    [ "$backend" != xla:cuda ] || plugin
    python3 bench/gpu.py --backend "$backend" --page "$OUT/gpu.md" --minutes "${MINUTES:-8}"
    ;;
  *) sed -n '2,9p' "$0"; exit 2 ;;
esac
