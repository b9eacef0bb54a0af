"""Evaluation as functions of arrays: numbers, tables and pictures."""
