"""Celery entries, one file per noun; each calls one function of ``nightshift``."""
