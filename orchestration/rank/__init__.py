"""What runs in the process of a rank: loop, engine, data, metrics, checkpoint writer."""
