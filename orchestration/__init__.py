"""Everything that runs on a cluster: ray, deepspeed and mlflow are imported in this package alone."""
