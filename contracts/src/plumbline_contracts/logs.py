"""One shape of log line for all services: structured, one event a line, no secret in it.

JSON in containers, readable on a terminal. Every line has time, level, event and service; lines about an instance
carry `tenant`, `instance` and, where known, `snapshot_id` and `trace_id`.
"""

import json
import logging
import sys
from collections.abc import Callable, MutableMapping
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import structlog
from opentelemetry import trace
from pydantic_core import PydanticSerializationError, to_json
from structlog.tracebacks import ExceptionDictTransformer

_TRACEBACKS = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
"""Tracebacks as data, without the values of local variables: a password may be one."""

_STAMP = structlog.processors.TimeStamper(fmt="iso", utc=True, key="time")
Form: TypeAlias = Literal["json", "console"]
SECRET_WORDS = ("secret", "password", "token", "authorization", "assertion", "private_key", "api_key")


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in SECRET_WORDS)


def _redact(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:  # noqa: ANN401
    for name in line:
        if _is_secret(name):
            line[name] = "***"
    return line


def _add_trace_id(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:  # noqa: ANN401
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        line["trace_id"] = f"{context.trace_id:032x}"
    return line


def configure(service: str, *, form: Form, level: str) -> None:
    """Send structlog and standard library logging to stderr in one form. Call once, at start-up."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _STAMP,
        structlog.processors.StackInfoRenderer(),
        _add_trace_id,
        _redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderer(form)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("aiokafka", "httpx", "httpcore", "faust", "mode", "kafka"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    structlog.contextvars.bind_contextvars(service=service)


def direct(name: str, *, form: Form, level: str) -> structlog.typing.FilteringBoundLogger:
    """A logger for what is told at every request: lines as those of `configure`.

    They are written at once and pass no handler of the standard library, which costs more than all the rest.
    """
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(sys.stderr),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _STAMP,
            _add_trace_id,
            _redact,
            *_renderer(form),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
    ).bind(logger=name)
    return logger


def _renderer(form: Form) -> list[Any]:
    if form == "json":
        return [_TRACEBACKS, structlog.processors.JSONRenderer(serializer=_as_json)]
    colors = sys.stderr.isatty()
    return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)]


def _as_json(line: Any, default: Callable[[Any], Any]) -> str:  # noqa: ANN401
    """One line of JSON, whatever is in it: lone surrogates too."""
    try:
        return to_json(line, fallback=default, inf_nan_mode="strings").decode()
    except (PydanticSerializationError, UnicodeEncodeError):
        return json.dumps(line, default=default)
