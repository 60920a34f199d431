#!/bin/sh
# Installs what the app needs into the base image, and fails if that changed torch: another torch than NVIDIA's may have no
# kernels for a Spark's GPU, or none for any, and would only be slow and say nothing.
#
# The image's own constraints (PIP_CONSTRAINT) stay in force; torch itself is pinned beside them, to what is there.
set -eu
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

torch() {
    python -c 'import torch; print(torch.__version__, torch.version.cuda, torch.version.git_version, torch.__file__)'
}

before=$(torch) || { echo "spark_embed: the base image has no torch: $before" >&2; exit 1; }
case "$before" in
*" None "*)
    if [ "${ALLOW_CPU:-}" != 1 ]; then
        echo "spark_embed: the base image's torch knows no GPU ($before); ALLOW_CPU: \"1\" builds it all the same" >&2
        exit 1
    fi
    ;;
esac
printf 'torch==%s\n' "${before%% *}" > "$work/torch.txt"
PIP_CONSTRAINT="${PIP_CONSTRAINT:+$PIP_CONSTRAINT }$work/torch.txt" \
    python -m pip install --no-cache-dir --disable-pip-version-check --requirement "$here/requirements.txt"
after=$(torch)
if [ "$before" != "$after" ]; then
    echo "spark_embed: torch was changed: it was $before, and is $after" >&2
    exit 1
fi
echo "spark_embed: torch is as it was: $after"
