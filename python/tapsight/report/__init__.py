"""A result as a page for everybody it concerns: one HTML file, and the same pictures as files of their own."""

from tapsight.report._page import require, write

__all__ = ["require", "write"]
