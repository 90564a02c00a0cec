#!/bin/sh
# Installs what the tests in tests/outside need: Tango's own database server and MariaDB, of which they start their own.
# To be run as root on Debian or its relatives; does nothing where they are installed already.
set -eu
if [ -x /usr/lib/tango/DataBaseds ] && [ -x /usr/sbin/mariadbd ]; then
    exit 0
fi
apt-get update -qq
# The packages would start servers of the machine, and ask about the database of one.
echo "tango-common tango-common/tango-host string localhost:10000" | debconf-set-selections
RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    dbconfig-no-thanks mariadb-server mariadb-client tango-db
