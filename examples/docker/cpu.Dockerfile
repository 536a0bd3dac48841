# hsfuse on CPUs. From the root of the repository:
#
#   docker build -f examples/docker/cpu.Dockerfile -t hsfuse .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" hsfuse fuse --hsi prisma.tif --msi s2.tif -o out.tif

FROM python:3.12-slim-bookworm AS build
# PyPI's torch for Linux is the CUDA build, some gigabytes; this index has the one for CPUs.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python3 -m venv /opt/hsfuse \
    && /opt/hsfuse/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX" "torch>=2.6"
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY weights weights
COPY hsfuse hsfuse
RUN /opt/hsfuse/bin/pip install --no-cache-dir ".[report]"

FROM python:3.12-slim-bookworm
COPY --from=build /opt/hsfuse /opt/hsfuse
# Compiled kernels and matplotlib's fonts are kept where a user without a home may write.
ENV PATH=/opt/hsfuse/bin:$PATH NUMBA_CACHE_DIR=/tmp/numba MPLCONFIGDIR=/tmp/matplotlib
RUN hsfuse doctor
USER 65534:65534
WORKDIR /data
ENTRYPOINT ["hsfuse"]
CMD ["--help"]
