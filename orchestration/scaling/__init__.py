"""Drivers of scaling studies: plan, cells, measurements, records in MLflow."""
