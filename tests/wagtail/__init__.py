"""Wagtail 8, unmodified, as a tenant application: its pages, its admin, its permissions."""

from benchmarks.wagtail import APPS

__all__ = ["APPS"]
