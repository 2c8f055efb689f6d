# Cellar with every program that it runs. Any Debian from bookworm on will do as BASE.
# Without Docker or a registry: `make image`.

ARG BASE=debian:trixie-slim

FROM ${BASE} AS build
# For pip alone: a certificate file inside the build, where the machine's own are needed.
ARG PIP_CERT
ENV DEBIAN_FRONTEND=noninteractive PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
# The application's environment has no pip of its own; the other one builds and fills it. Wheels
# only, with the hashes of the lock files, and nothing beside: see tools/packages.py.
RUN python3 -m venv --without-pip /opt/cellar \
 && python3 -m venv /opt/build \
 && /opt/build/bin/pip install \
      --no-deps --require-hashes --only-binary=:all: -r requirements-build.lock \
 && /opt/build/bin/pip --python /opt/cellar/bin/python install \
      --no-deps --require-hashes --only-binary=:all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY csi_proto csi_proto
COPY driver driver
RUN /opt/build/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir wheels . \
 && /opt/build/bin/pip --python /opt/cellar/bin/python install --no-deps --no-index wheels/*.whl

FROM ${BASE}
# `make image` says both.
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="cellar" \
      org.opencontainers.image.description="A CSI driver for node-local storage" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# lvm2 brings no services here; it checks thin pools with thin-provisioning-tools. While it is being
# installed it would read all disks of the machine that builds: there are none for it.
RUN mkdir /tmp/lvm \
 && echo 'devices { global_filter = [ "r|.*|" ] }' > /tmp/lvm/lvm.conf \
 && apt-get update \
 && DEBIAN_FRONTEND=noninteractive LVM_SYSTEM_DIR=/tmp/lvm \
      apt-get install --yes --no-install-recommends \
      btrfs-progs cryptsetup-bin e2fsprogs lvm2 mount python3 thin-provisioning-tools \
      util-linux xfsprogs \
 && rm -rf /tmp/lvm /var/lib/apt/lists/* /var/cache/* /var/log/*
COPY --from=build /opt/cellar /opt/cellar
RUN ln -s /opt/cellar/bin/cellar /usr/local/bin/cellar
ENTRYPOINT ["cellar"]
CMD ["--help"]
