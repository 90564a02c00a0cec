#!/bin/sh
# Installs what the tests in tests/deploy and tests/hosts need beside .venv-deploy: what builds an image and runs it, systemd's own check
# of unit files, and network namespaces.
# To be run as root on Debian or its relatives; does nothing where they are installed already.
set -eu
for each in buildah crun debootstrap ip systemd-analyze; do
    command -v "$each" >/dev/null || { missing=yes; }
done
if [ -z "${missing-}" ]; then
    exit 0
fi
apt-get update -qq
RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends buildah crun debootstrap iproute2 systemd
