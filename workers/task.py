"""The base of every task: an ``async def`` body runs wherever the task runs."""

from __future__ import annotations

import inspect
from typing import Any

from celery import Task

from workers.coroutines import run_coroutine


class CoroutineTask(Task):  # type: ignore[misc]  # Celery ships no types
    """A task whose body may be a coroutine."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = super().__call__(*args, **kwargs)
        if inspect.iscoroutine(result):
            return run_coroutine(result)
        return result
