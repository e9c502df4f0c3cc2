"""What parsers of query languages say. Runs in the environment of `tools.lock`, where those parsers are.

Reads a list of pairs of language and text as JSON from standard input; writes, for each, the list of its errors.
"""

import json
import sys
from collections.abc import Callable

from antlr4 import CommonTokenStream, InputStream
from antlr4.error.ErrorListener import ErrorListener
from esql_parser.EsqlBaseLexer import EsqlBaseLexer
from esql_parser.EsqlBaseParser import EsqlBaseParser
from logstash_pipeline_parser import Pipeline
from logstash_pipeline_parser.tree import ParseError
from luqum.exceptions import ParseError as LuceneError
from luqum.parser import parser as lucene_parser


class _Listener(ErrorListener):  # type: ignore[misc]
    def __init__(self) -> None:
        self.errors: list[str] = []

    def syntaxError(  # noqa: N802 - the name that the parser calls
        self, recognizer: object, symbol: object, line: int, column: int, message: str, error: object
    ) -> None:
        self.errors.append(f"{line}:{column} {message}")


def _esql(text: str) -> list[str]:
    listener = _Listener()
    lexer = EsqlBaseLexer(InputStream(text))
    parser = EsqlBaseParser(CommonTokenStream(lexer))
    for part in (lexer, parser):
        part.removeErrorListeners()
        part.addErrorListener(listener)
    parser.singleStatement()
    return listener.errors


def _lucene(text: str) -> list[str]:
    try:
        lucene_parser.parse(text)
    except LuceneError as error:
        return [str(error)]
    return []


def _logstash(text: str) -> list[str]:
    try:
        Pipeline(text).parse()
    except ParseError as error:
        return [str(error)]
    return []


LANGUAGES: dict[str, Callable[[str], list[str]]] = {"esql": _esql, "lucene": _lucene, "logstash": _logstash}

if __name__ == "__main__":
    json.dump([LANGUAGES[language](text) for language, text in json.load(sys.stdin)], sys.stdout)
