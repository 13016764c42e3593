"""Structured logs: one JSON object a line, with the service's name and, within a run, its id."""

import logging
import sys
from collections.abc import Sequence

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from shared.scrub import Scrubber


def configure_logging(service: str, level: str, scrubber: Scrubber) -> None:
    """Route structlog and the standard library's loggers to stdout as JSON lines, secrets redacted."""

    def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {key: scrubber.value(value) for key, value in event.items()}

    def name_service(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {"service": service, **event}

    shared: Sequence[Processor] = (
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_service,
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=list(shared),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name in ("uvicorn", "uvicorn.error", "nats"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name in ("httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they log every URL
    logging.getLogger("nats").setLevel(logging.CRITICAL)  # its errors come to us as exceptions and metrics
