# The image of API and worker: hash-locked packages and byte-compiled sources, no compiler, no root, read-only.
FROM python:3.13-slim AS build
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR /app
COPY requirements/bootstrap.txt requirements/run.txt requirements/
RUN python -m pip install --no-cache-dir --root-user-action ignore --require-hashes --target /opt/uv \
        -r requirements/bootstrap.txt \
    && /opt/uv/bin/uv venv --python /usr/local/bin/python .venv \
    && /opt/uv/bin/uv pip sync --no-cache --compile-bytecode --require-hashes --only-binary :all: \
        --python .venv/bin/python requirements/run.txt
COPY src src
COPY migrations migrations
RUN .venv/bin/python -m compileall -q src migrations

FROM python:3.13-slim
# Volumes for generated secrets take over the owner of these directories.
RUN install -d -o 10001 -g 10001 /secrets/admin /secrets/app /secrets/valkey
WORKDIR /app
COPY --from=build /app/.venv .venv
COPY --from=build /app/src src
COPY --from=build /app/migrations migrations
COPY LICENSE LICENSE
ENV PATH=/app/.venv/bin:$PATH PYTHONPATH=/app/src PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    LOYALTY_ENVIRONMENT=production LOYALTY_HOST=0.0.0.0
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('LOYALTY_PORT', '8080')}/health/ready\", timeout=2)"]
ENTRYPOINT ["python", "-m", "loyalty"]
CMD ["serve"]
