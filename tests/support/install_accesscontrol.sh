#!/bin/sh
# Installs what the tests in tests/outside need: Tango's access control, as Debian packages it.  install_tangodb.sh has its tables.
# To be run as root on Debian or its relatives; does nothing where it is installed already.
set -eu
if [ -x /usr/lib/tango/TangoAccessControl ]; then
    exit 0
fi
apt-get update -qq
# The package would start a server of the machine, and ask which Tango database that belongs to.
echo "tango-common tango-common/tango-host string localhost:10000" | debconf-set-selections
RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends tango-accesscontrol >/dev/null
