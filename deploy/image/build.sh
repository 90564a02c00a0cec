#!/bin/sh
# Builds the image ska-oet-device:VERSION of these sources with docker, podman or buildah, whichever there is; BUILDER names another one.
# Further arguments go to it: --build-arg BASE=…, --secret id=pip.conf,src=…, --secret id=ca.crt,src=….  `make image` runs this.
set -eu
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' src/ska_oet_device/__init__.py)
for each in ${BUILDER:-docker podman buildah}; do
    if command -v "$each" >/dev/null; then
        builder=$each
        break
    fi
done
if [ -z "${builder-}" ]; then
    echo "there is none of ${BUILDER:-docker, podman, buildah} to build the image with" >&2
    exit 1
fi
revision=$(git rev-parse HEAD 2>/dev/null || true)
set -x
exec "$builder" build --tag "ska-oet-device:$version" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" "$@" .
