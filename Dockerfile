# The image of ska-oet-device: `make image` builds it, docs/how-to/deploy.md says how it is run.
#
# The base is named by its tag, so that a build takes the newest repairs of Debian 12.  Who wants the same base in each build
# names it by its digest:  --build-arg BASE=debian@sha256:…
ARG BASE=debian:12-slim

# What runs: Debian's Python 3.11, git for scripts that come by it, and the certificates that git asks for.
FROM ${BASE} AS runtime
# DL3008 (pin versions): Debian's archive has only the newest version of each package of a stable release; a pin would end the
# build with each repair.  The digest of the base, and a mirror that stands still, pin all of them.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates git python3 \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/ldconfig/aux-cache /var/log/apt /var/log/*.log

FROM runtime AS builder
# hadolint ignore=DL3008
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-venv
# The date of each file in the wheel, the same in each build: the first that such an archive can have.
ARG SOURCE_DATE_EPOCH=315532800
ENV SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY deploy/image/build.lock deploy/image/requirements.lock ./
# pip is in an environment of its own: the one that runs needs none, and holds nothing that builds.
# A site with an index or a certificate of its own gives them as build secrets, which are in no layer.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    python3 -m venv /build/tools \
    && python3 -m venv --without-pip /opt/oet \
    && /build/tools/bin/pip install --require-hashes --requirement build.lock \
    && /build/tools/bin/pip --python /opt/oet/bin/python install --require-hashes --only-binary :all: --no-compile \
       --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
# Byte code is made here, since nothing can write it later; by the hash of its source, so that it is the same in each build, and
# unchecked, since no file of it is ever changed.  (Pypubsub brings a folder contrib/, of Python 2, that nothing imports.)
RUN /build/tools/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir dist . \
    && /build/tools/bin/pip --python /opt/oet/bin/python install --no-index --no-deps --no-compile dist/*.whl \
    && /opt/oet/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash -x /site-packages/contrib/ /opt/oet/lib

FROM runtime
ARG VERSION=0.2.0
ARG REVISION=
LABEL org.opencontainers.image.title="ska-oet-device" \
      org.opencontainers.image.description="A Tango device server that executes observing scripts in supervised processes of their own" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="BSD-3-Clause" \
      org.opencontainers.image.base.name="debian:12-slim"
# A user with a name for whoever looks, and with a number for Kubernetes, which cannot tell that a name is not root's
# (runAsNonRoot).  OpenShift gives another number, which has no name, and group 0: the state folder is that group's, too.
# Nothing here needs the rights of another user.
RUN groupadd --gid 1000 oet \
    && useradd --uid 1000 --gid 1000 --home-dir /var/lib/oet --no-create-home --shell /usr/sbin/nologin oet \
    && install -d -o 1000 -g 0 -m 0770 /var/lib/oet \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && rm -rf /var/log/*.log /var/log/lastlog /var/log/faillog /etc/passwd- /etc/shadow- /etc/group- /etc/gshadow-
COPY --from=builder /opt/oet /opt/oet
# HOME is what may always be written to, whoever the user is; what is to stay is in STATE_DIRECTORY.
ENV PATH=/opt/oet/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 \
    HOME=/tmp \
    STATE_DIRECTORY=/var/lib/oet
USER 1000:1000
WORKDIR /tmp
# main itself is process 1: it ends its scripts upon SIGTERM, and reaps whatever falls to it.
STOPSIGNAL SIGTERM
# No HEALTHCHECK: Kubernetes has none, Docker starts nothing anew for it, and an image does not know what its devices are called.
ENTRYPOINT ["OetDevice"]
CMD ["--help"]
