#!/bin/sh
# Installs what the tests with another Tango database need: Tango's own database server and MariaDB, of which they start their own.
# To be run as root on Debian or its relatives; does nothing where they are installed already.
# --is-done: installs nothing; its exit status says whether the tests can use them, which is for root to do.
set -eu
if [ -x /usr/lib/tango/DataBaseds ] && [ -x /usr/sbin/mariadbd ]; then
    is_done=0
else
    is_done=1
fi
if [ "${1-}" = --is-done ]; then
    [ "$is_done" = 0 ] && [ "$(id -u)" = 0 ]
    exit
fi
if [ "$is_done" = 0 ]; then
    exit 0
fi
apt-get update -qq
# The packages would start servers of the machine, and ask about the database of one.
echo "tango-common tango-common/tango-host string localhost:10000" | debconf-set-selections
RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    dbconfig-no-thanks mariadb-server mariadb-client tango-db
