"""
Celery entries, one file per noun; each calls one function of ``nightshift``.

``tasks.job`` has none: it is what packages import that bring jobs of their own.
"""
