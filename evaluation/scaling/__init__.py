"""Scaling laws: what a study's runs support, fits, intervals, forecasts, figures."""
