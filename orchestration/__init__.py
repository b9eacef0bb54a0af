"""All that knows there is a cluster: ray, deepspeed and mlflow are imported in this package alone."""
