"""Decoding: functions over a step function that name no model class."""
