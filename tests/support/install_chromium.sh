#!/bin/sh
# Installs what pictures of dashboards need: Chromium, fonts with the measures of Helvetica, and pngquant for small files.
# To be run as root on Debian or its relatives; does nothing where all of it is installed already.
set -eu
if command -v chromium >/dev/null && command -v pngquant >/dev/null && [ -d /usr/share/fonts/truetype/liberation ]; then
    exit 0
fi
apt-get update -qq
RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-liberation pngquant
