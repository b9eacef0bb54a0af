"""Classification tasks: scores by sequence and by subject, intervals, tables, linear probes."""
