"""The Parquet store: blocks, manifest, reader, selections of rows."""
