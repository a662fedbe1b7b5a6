"""Recipes: functions that return a whole `TrainConfig`."""
