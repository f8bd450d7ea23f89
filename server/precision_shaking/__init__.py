"""Precision Shaking: decisions on code become a preference dataset, and a small model of your own."""

__version__ = "0.1.0"
