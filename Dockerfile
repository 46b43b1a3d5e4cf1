# docker build -t star_loop .                                     CPU
# docker build -t star_loop:cuda --build-arg SET=gpu .            NVIDIA GPUs (docker run --gpus all)
# docker run --rm --shm-size=2g -v "$PWD/outputs:/home/learner/outputs" star_loop iterations=2
#
# --shm-size: vLLM's processes and torch's speak through shared memory, of which Docker gives 64 MB. The folder that is
# mounted must be writable for user 1000.
FROM python:3.12-slim AS build
ARG SET=cpu
# Whoever runs the image cannot write there, so modules are compiled now, not by each process.
ENV UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1 STAR_LOOP_SET=${SET}
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY requirements requirements
COPY star_loop star_loop
COPY hydra_plugins hydra_plugins
COPY conf conf
RUN python requirements/install.py run /opt/venv \
    && /opt/venv/bin/uv build --quiet --wheel --out-dir /tmp/dist \
    && /opt/venv/bin/uv pip install --quiet --python /opt/venv --no-deps --reinstall /tmp/dist/*.whl

FROM python:3.12-slim
# vLLM compiles small helpers with the C compiler at its first start.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc g++ libnuma1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 learner
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH HF_HUB_OFFLINE=1
USER 1000
WORKDIR /home/learner
ENTRYPOINT ["python", "-m", "star_loop"]
