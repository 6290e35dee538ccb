"""Structured logs: one JSON object a line, with the trace id, to standard error."""

import logging
import sys
import traceback
from pathlib import Path

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger


def _add_trace(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        fields["trace_id"] = f"{context.trace_id:032x}"
    return fields


def described(error: BaseException) -> str:
    """What went wrong and where, without the message: that may quote a customer's data (design, section 6)."""
    ours = [f for f in traceback.extract_tb(error.__traceback__) if "/kefu_" in f.filename]
    state = getattr(error, "sqlstate", None)
    name = f"{type(error).__name__} {state}" if state else type(error).__name__
    return f"{name} at {Path(ours[-1].filename).name}:{ours[-1].lineno} in {ours[-1].name}" if ours else name


def _frames_only(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
    """An exception as its type and the lines that it came through; never its message, for the same reason."""
    info = fields.pop("exc_info", None)
    error = info if isinstance(info, BaseException) else sys.exc_info()[1] if info is True else info and info[1]
    if isinstance(error, BaseException):
        found = []
        while error is not None:
            found.append(f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}")
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        fields["exception"] = "while handling, or caused by: ".join(found)
    return fields


class _SeldomKafkaClient(logging.Filter):
    """aiokafka calls every hiccup of a broker an error, many times a second while it is away.

    What it means for us our own lines say; of the client's, one of a kind every 10 s is enough, as a warning.
    """

    def __init__(self) -> None:
        super().__init__()
        self._next: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        if not record.name.startswith("aiokafka"):
            return True
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        kind = f"{record.name} {record.msg}"
        if record.created < self._next.get(kind, 0.0):
            return False
        if len(self._next) > 1000:
            self._next.clear()
        self._next[kind] = record.created + 10
        return True


def set_up(service: str, level: str) -> None:
    """Send our logs and those of libraries (warnings and worse) to standard error as JSON."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
    ]
    structlog.configure(
        processors=[
            *shared,
            _frames_only,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _frames_only,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    handler.addFilter(_SeldomKafkaClient())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def get(name: str) -> FilteringBoundLogger:
    """The logger of a module."""
    logger: FilteringBoundLogger = structlog.get_logger(module=name)
    return logger
