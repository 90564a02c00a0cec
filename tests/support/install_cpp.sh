#!/bin/sh
# Installs what the example in C++ needs: a compiler, Tango's C++ library and a JSON library, as Debian packages them.
# To be run as root on Debian or its relatives; does nothing where they are installed already.
set -eu
if pkg-config --exists tango 2>/dev/null && [ -e /usr/include/nlohmann/json.hpp ] && command -v g++ make >/dev/null; then
    exit 0
fi
apt-get update -qq
# A package that comes along asks which Tango database the machine belongs to.
echo "tango-common tango-common/tango-host string localhost:10000" | debconf-set-selections
RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    g++ libtango-dev make nlohmann-json3-dev pkg-config >/dev/null
