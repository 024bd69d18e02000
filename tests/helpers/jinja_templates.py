"""Let Jinja compile each template once per process: tests render the same few hundred texts thousands of times."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment


def compile_once() -> None:
    """Make environments with the same syntax, filters and tests share the code of a template, which does not depend on anything else."""
    compile_template: Any = Environment.compile
    known: dict[Any, Any] = {}

    def compile_template_once(self: Any, source: Any, *args: Any, **more: Any) -> Any:
        if not isinstance(source, str):
            return compile_template(self, source, *args, **more)
        # Environments whose syntax is the same have the same lexer. Filters and tests are called in advance where they apply to constants.
        key = (
            type(self),
            self.code_generator_class,
            self.lexer,
            frozenset(self.filters.items()),
            frozenset(self.tests.items()),
            tuple(map(type, self.iter_extensions())),
            (self.autoescape, self.finalize, self.optimized, self.is_async),
            (source, args, *more.items()),
        )
        if key not in known:
            known[key] = compile_template(self, source, *args, **more)
        return known[key]

    # Not by an assignment to the class, which mypy rejects.
    setattr(Environment, compile_template.__name__, compile_template_once)
