# One image for all of the program's services; docker-compose.yml says what each runs.
FROM python:3.12-slim-bookworm AS build
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
# The requirements alone decide about the large layer below, so that other changes do not make it anew.
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*p['dependencies'], *p['optional-dependencies']['offline'], sep='\n')" > requirements.txt
COPY anomalyvfm_opt anomalyvfm_opt
COPY studies studies
COPY schema schema
RUN pip wheel --no-cache-dir --no-deps --wheel-dir wheels .

FROM python:3.12-slim-bookworm
# A volume that is mounted on the state folder takes its owner over.
RUN useradd --uid 10001 --user-group --create-home --home-dir /var/lib/anomalyvfm-opt anomalyvfm-opt
COPY constraints.txt /opt/anomalyvfm-opt/
COPY --from=build /build/requirements.txt /opt/anomalyvfm-opt/
RUN pip install --no-cache-dir -c /opt/anomalyvfm-opt/constraints.txt -r /opt/anomalyvfm-opt/requirements.txt
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
