"""Judging a model: fixed prompts, a reader that says what a clip shows, metrics, and a report."""
