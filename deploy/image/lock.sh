#!/bin/sh
# Writes the locks of the image: what it holds, and what builds it, each version with the hashes of all its files.  `make lock` runs this.
#
# They name no index, so each site's own is asked; whatever it answers must have one of these hashes.
set -eu
cd "$(dirname "$0")/../.."
uv=${BIN:-.venv/bin}/uv
aside=$(mktemp -d)
trap 'rm -rf "$aside"' EXIT

# Of what is installed from a file of this machine only that file's hash would be known.
for variable in $(env | sed -n 's/^\(\(UV\|PIP\)_[A-Z_]*\)=.*/\1/p'); do
    unset "$variable"
done
compile() {  # platform, file to be written, what is asked for
    platform=$1 written=$2
    shift 2
    "$uv" --no-config pip compile --quiet --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
        --python-version 3.11 --python-platform "$platform-manylinux_2_36" --constraint constraints.txt \
        --constraint tests/telemetry/requirements.txt --output-file "$written" "$@"
}

echo setuptools >"$aside/build.in"
for platform in x86_64 aarch64; do
    # What is in the lock already stays as it is, unless constraints.txt or the tests of telemetry want otherwise.
    for lock in requirements build; do
        if [ -e "deploy/image/$lock.lock" ]; then cp "deploy/image/$lock.lock" "$aside/$lock.$platform"; fi
    done
    compile "$platform" "$aside/requirements.$platform" --extra image pyproject.toml
    compile "$platform" "$aside/build.$platform" "$aside/build.in"
done
for lock in requirements build; do
    if ! cmp -s "$aside/$lock.x86_64" "$aside/$lock.aarch64"; then
        echo "$lock.lock would not be the same for x86_64 and aarch64:" >&2
        diff "$aside/$lock.x86_64" "$aside/$lock.aarch64" >&2
        exit 1
    fi
    cp "$aside/$lock.x86_64" "deploy/image/$lock.lock"
done
