"""The Parquet store: files, blocks, writer, reader, selections of rows."""
