#!/bin/sh
# Installs what the tests of many hosts need beside a Tango database: programs that make namespaces, and networks between them.
# To be run as root on Debian or its relatives; does nothing where they are installed already.
set -eu
if command -v ip >/dev/null && command -v ss >/dev/null && command -v unshare >/dev/null && command -v nsenter >/dev/null; then
    exit 0
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends iproute2 util-linux
