"""Measures every stage against the limits of the machine and against a plain baseline; nothing imports it."""
