#!/bin/sh
# Installs what the tests of the durable history need: PostgreSQL's server, of which they start their own.
# To be run as root on Debian or its relatives; does nothing where it is installed already.
set -eu
if ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
    exit 0
fi
# The package would start a server of its own: the tests do not want it, and a container cannot.
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] ||
    echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql
