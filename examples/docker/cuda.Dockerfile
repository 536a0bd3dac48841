# hsfuse on NVIDIA GPUs; the host needs the driver and the NVIDIA Container Toolkit. From the root of the repository:
#
#   docker build -f examples/docker/cuda.Dockerfile -t hsfuse:cuda .
#   docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD:/data" hsfuse:cuda \
#       fuse --hsi prisma.tif --msi s2.tif -o out.tif

FROM python:3.12-slim-bookworm AS build
# PyPI's torch for Linux brings CUDA's libraries and Triton; the base image needs neither.
ARG TORCH_INDEX=https://pypi.org/simple
RUN python3 -m venv /opt/hsfuse \
    && /opt/hsfuse/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX" "torch>=2.6"
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY weights weights
COPY hsfuse hsfuse
RUN /opt/hsfuse/bin/pip install --no-cache-dir ".[report]"

FROM python:3.12-slim-bookworm
# Triton compiles the launchers of its kernels on the machine that runs them.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/hsfuse /opt/hsfuse
# Compiled kernels and matplotlib's fonts are kept where a user without a home may write.
ENV PATH=/opt/hsfuse/bin:$PATH NUMBA_CACHE_DIR=/tmp/numba MPLCONFIGDIR=/tmp/matplotlib TRITON_CACHE_DIR=/tmp/triton
# Without these the toolkit shows the container no GPU, or no CUDA.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN hsfuse doctor
USER 65534:65534
WORKDIR /data
ENTRYPOINT ["hsfuse"]
CMD ["--help"]
