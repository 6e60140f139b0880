# One image for all of the program's services; docker-compose.yml says what each runs.
# What is installed is known by its hash (locks/, written by `make lock`); the base image is, once PYTHON_IMAGE names
# it by its digest: docs/deployment.md.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm
FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
COPY locks/build.txt locks/
RUN pip install --no-cache-dir --require-hashes --no-deps --only-binary :all: -r locks/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY anomalyvfm_opt anomalyvfm_opt
COPY studies studies
COPY schema schema
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir wheels .

FROM ${PYTHON_IMAGE}
# A volume that is mounted on the state folder takes its owner over.
RUN useradd --uid 10001 --user-group --create-home --home-dir /var/lib/anomalyvfm-opt anomalyvfm-opt
# The lock alone decides about this large layer, so that other changes do not make it anew.
COPY locks/base.txt /opt/anomalyvfm-opt/
RUN pip install --no-cache-dir --require-hashes --no-deps --only-binary :all: -r /opt/anomalyvfm-opt/base.txt
COPY --from=build /build/wheels /opt/anomalyvfm-opt/wheels
RUN pip install --no-cache-dir --no-deps /opt/anomalyvfm-opt/wheels/*.whl
COPY --chmod=0755 deploy/entrypoint.sh /usr/local/bin/anomalyvfm-opt-entrypoint
ENV ANOMALYVFM_OPT_HOME=/var/lib/anomalyvfm-opt \
    HF_HOME=/var/lib/anomalyvfm-opt/hub \
    PYTHONUNBUFFERED=1
WORKDIR /
USER 10001:10001
HEALTHCHECK NONE
ENTRYPOINT ["/usr/local/bin/anomalyvfm-opt-entrypoint"]
CMD ["anomalyvfm-opt", "--help"]
